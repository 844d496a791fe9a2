// Updates inside of a recorded step, whose learning rate, step count and clipping change.
#include "engine/ops/optimizer.h"
#include "engine/ops/cast.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/cuda/step_graph.h"

using namespace decant;

namespace {

constexpr int64_t kSize = 37;  // packs of four and a rest

Tensor on_cuda(uint64_t seed) {
  return randn({kSize}, seed).to(DType::f32).to(Device::cuda);
}

struct Buffers {
  Tensor values = on_cuda(1);
  Tensor gradients = Tensor::zeros({kSize}, DType::f32, Device::cuda);
  Tensor m = Tensor::zeros({kSize}, DType::f32, Device::cuda);
  Tensor v = Tensor::zeros({kSize}, DType::f32, Device::cuda);
  Tensor norm;
};

double norm_of(const Tensor& values) {
  double squares = 0;
  for (int64_t i = 0; i < values.size(); ++i)
    squares += static_cast<double>(values.data<float>()[i]) * values.data<float>()[i];
  return std::sqrt(squares);
}

void check_same(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device::cpu);
  const Tensor y = b.to(Device::cpu);
  for (int64_t i = 0; i < x.size(); ++i) CHECK(x.data<float>()[i] == y.data<float>()[i]);
}

// Steps done one by one, with the options of each, and steps replayed, which see the options of the
// first alone: the rest they read where numbers(i) are copied to.
void check_replay(const std::function<Tensor(int64_t)>& numbers,
                  const std::function<void(Buffers&, int64_t, const Tensor&)>& update) {
  Buffers eager;
  Buffers replayed;
  Tensor now = numbers(0).to(Device::cuda);
  cuda::StepGraph graph;
  for (int64_t i = 0; i < 4; ++i) {
    // Gradients of the third step are too small to be clipped.
    Tensor gradients = on_cuda(10 + static_cast<uint64_t>(i));
    if (i == 2) scale_in_place(gradients, 1e-3);
    const auto step = [&](Buffers& b, int64_t at, const Tensor& numbers_of_step) {
      b.norm = clip_norm({&b.gradients, 1}, 1.5);
      update(b, at, numbers_of_step);
    };
    eager.gradients.copy_from(gradients);
    step(eager, i, {});
    replayed.gradients.copy_from(gradients);
    now.copy_from(numbers(i).to(Device::cuda));
    graph.run([&] { step(replayed, 0, now); });
    check_same(eager.values, replayed.values);
    check_same(eager.m, replayed.m);
    check_same(eager.norm, replayed.norm);
    CHECK(eager.norm.item() == doctest::Approx(norm_of(gradients.to(Device::cpu))));
  }
  CHECK(graph.recorded());
}

}  // namespace

TEST_CASE("a recorded average takes the decay of each replay") {
  const auto decay = [](int64_t i) { return 0.9 / static_cast<double>(i + 1); };
  check_replay([&](int64_t i) { return step_numbers(decay(i)); },
               [&](Buffers& b, int64_t i, const Tensor& now) {
                 ema_update(b.values, b.gradients, decay(i), now);
               });
}

TEST_CASE("a recorded sgd step takes the learning rate and the momentum of each replay") {
  const auto options = [](int64_t i) {
    return SgdOptions{.learning_rate = 0.1 / static_cast<double>(i + 1),
                      .momentum = 0.9,
                      .nesterov = true,
                      .weight_decay = 0.01};
  };
  check_replay([&](int64_t i) { return step_numbers(options(i), i == 0); },
               [&](Buffers& b, int64_t i, const Tensor& now) {
                 sgd_step(b.values, b.gradients, b.m, options(i), i == 0, now);
               });
}

TEST_CASE("a recorded adam step takes the learning rate and the step count of each replay") {
  for (const bool decoupled : {false, true}) {
    const auto options = [decoupled](int64_t i) {
      return AdamOptions{.learning_rate = 0.1 / static_cast<double>(i + 1),
                         .weight_decay = 0.1,
                         .decoupled = decoupled,
                         .step = i + 1};
    };
    check_replay([&](int64_t i) { return step_numbers(options(i)); },
                 [&](Buffers& b, int64_t i, const Tensor& now) {
                   adam_step(b.values, b.gradients, b.m, b.v, options(i), now);
                 });
  }
}

TEST_CASE("parts of a buffer that begin anywhere are updated as the whole") {
  const auto updated = [](const std::vector<int64_t>& cuts) {
    Buffers b;
    b.gradients.copy_from(on_cuda(7));
    const Tensor now = step_numbers(AdamOptions{}).to(Device::cuda);
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      const Shape part = {cuts[i + 1] - cuts[i]};
      adam_step(b.values.view(cuts[i], part), b.gradients.view(cuts[i], part),
                b.m.view(cuts[i], part), b.v.view(cuts[i], part), {}, now);
    }
    return b.values;
  };
  check_same(updated({0, kSize}), updated({0, 1, 7, 16, 31, kSize}));
}

TEST_CASE("an op on cuda whose functor is empty reads a view where the view begins") {
  const Tensor flat = Tensor::of<float>({6}, {0, 1, 2, 3, 4, 5}).to(Device::cuda);
  const Tensor y = cast(Variable(flat.view(2, {3})), DType::bf16).value().to(Device::cpu);
  for (int64_t i = 0; i < 3; ++i) CHECK(y.data<bf16>()[i] == static_cast<float>(i + 2));
}

TEST_CASE("step numbers of another optimizer are refused") {
  Buffers b;
  const Tensor now = step_numbers(SgdOptions{}, true).to(Device::cuda);
  CHECK_THROWS_WITH_AS(adam_step(b.values, b.gradients, b.m, b.v, {}, now),
                       "adam_step: expected 3 step numbers, got [2]", Error);
}
