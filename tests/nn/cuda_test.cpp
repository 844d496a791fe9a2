// Networks, their files and their training on cuda: a card, or the emulated device.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/core/cuda_memory.h"
#include "engine/core/precision.h"
#include "engine/cuda/launch_count.h"
#include "engine/cuda/step_graph.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"
#include "nn/checkpoint.h"
#include "nn/losses.h"
#include "nn/network.h"
#include "nn/optimizer.h"
#include "nn/parameter_set.h"
#include "nn/weight_average.h"

namespace decant::nn {
namespace {

constexpr const char* kSmall = "thin_unet:width=4,depth=2";
constexpr const char* kDropping = "pspnet/thin:width=4";

std::vector<std::byte> bytes_of(Module& module) {
  return safetensors_bytes({state_dict(module), {}});
}

TEST_CASE("cuda: a network that moves there and back has the same bits, and so have its files") {
  if constexpr (!kWithCuda) return;
  namespace fs = std::filesystem;
  const fs::path file = fs::temp_directory_path() / str("decant_cuda_", ::getpid(), ".safetensors");
  const auto network = make_network(parse_network(kSmall), 5);
  const std::vector<std::byte> before = bytes_of(*network);
  move_to(*network, Device::cuda);
  CHECK(network->device() == Device::cuda);
  CHECK(bytes_of(*network) == before);
  const ParameterSet parameters(*network);
  CHECK(network->device() == Device::cuda);
  CHECK(bytes_of(*network) == before);

  save_checkpoint(file, *network);
  CHECK(bytes_of(*network_from_checkpoint(file).network) == before);
  const auto other = make_network(parse_network(kSmall), 6);
  move_to(*other, Device::cuda);
  CHECK(bytes_of(*other) != before);
  load_checkpoint(file, *other);
  CHECK(bytes_of(*other) == before);
  move_to(*other, Device::cpu);
  CHECK(other->device() == Device::cpu);
  CHECK(bytes_of(*other) == before);
  fs::remove(file);
}

TEST_CASE("cuda: an optimizer's state is the host's, and either device goes on from it") {
  if constexpr (!kWithCuda) return;
  const auto network = make_network(parse_network(kSmall), 5);
  move_to(*network, Device::cuda);
  ParameterSet parameters(*network);
  const auto optimizer = make_optimizer(parameters, {.name = "adam"});
  std::vector<NamedTensor> state = optimizer->state();
  for (NamedTensor& entry : state) {
    CHECK(entry.tensor.device() == Device::cpu);
    if (entry.tensor.dtype() == DType::f32) entry.tensor.fill(0.25);
  }
  optimizer->load_state(state);
  for (const NamedTensor& entry : optimizer->state())
    if (entry.tensor.dtype() == DType::f32)
      CHECK(std::ranges::all_of(entry.tensor.values<float>(), [](float v) { return v == 0.25F; }));
}

TEST_CASE("cuda: parameters of two devices make no set") {
  if constexpr (!kWithCuda) return;
  const auto here = make_network(parse_network(kSmall), 5);
  const auto there = make_network(parse_network(kSmall), 5);
  move_to(*there, Device::cuda);
  CHECK_THROWS_WITH_AS(ParameterSet({{"a", here.get()}, {"b", there.get()}}),
                       doctest::Contains("ParameterSet: expected one device, got cpu a."), Error);
}

// ---- training -----------------------------------------------------------------------------------

struct Training {
  const char* network = kSmall;
  const char* optimizer = "sgd";
  double learning_rate = 0.05;
  Precision precision = Precision::f32;
  bool graph = false;
  double ema = 0;
  Shape images = {2, 32, 32, 3};
  int steps = 10;
};

struct Trained {
  std::vector<double> losses;
  size_t peak_bytes = 0;  ///< of activations and all else that came and went in the steps
  int64_t ops = 0;        ///< of a forward pass and its loss
  std::vector<std::byte> mean = {};  ///< the mean of the weights, where there is one
  uint64_t launches = 0;             ///< of the last step
};

uint64_t launches() {
  if constexpr (kWithCuda) return cuda::launch_count();
  return 0;
}

// The losses of some steps on one batch of noise whose mask its first channel tells.
Trained train(const Training& t, Device device) {
  const AtPrecision guard(t.precision);
  const auto network = make_network(parse_network(t.network), 5);
  move_to(*network, device);
  ParameterSet parameters(*network);
  const auto optimizer =
      make_optimizer(parameters, {.name = t.optimizer, .momentum = 0.9, .nesterov = true});
  std::optional<WeightAverage> average;
  if (t.ema > 0) average.emplace(*network, parameters, t.ema);
  const Tensor noise = randn(t.images, 3).to(DType::f32);
  Shape shape = t.images;
  shape[3] = 1;
  Tensor labels(shape);
  for (int64_t i = 0; i < labels.size(); ++i)
    labels.mutable_data<float>()[i] = noise.data<float>()[3 * i] > 0.5F ? 1.0F : 0.0F;
  const Variable images(noise.to(device));
  const Target target = {.labels = labels.to(device)};

  Trained result;
  Tensor figure;
  Pass pass = {.training = true};
  if (t.graph) pass.stream = Tensor({1}, DType::i64, device);
  const auto step = [&] {
    const Trace trace;
    const Variable loss =
        supervised_loss(network->forward(images, pass).logits, target, {"ce_dice"});
    result.ops = static_cast<int64_t>(trace.steps().size());
    parameters.zero_gradients();
    backward(loss);
    clip_gradients(parameters, 1);
    optimizer->apply();
    if (average) average->apply();
    figure = loss.value();
  };
  const auto run = [&](const std::function<void(const std::function<void()>&)>& runner) {
    for (int i = 0; i < t.steps; ++i) {
      pass.key = RngKey::of(1, "dropout", static_cast<uint64_t>(i));
      if (t.graph)
        pass.stream.copy_from(
            Tensor::of<int64_t>({1}, {static_cast<int64_t>(Rng(pass.key).stream())}));
      optimizer->begin_step(t.learning_rate);
      if (average) average->begin_step(i);
      const uint64_t before = launches();
      runner(step);
      result.launches = launches() - before;
      result.losses.push_back(figure.item());
    }
  };
  if constexpr (kWithCuda) {
    const size_t before = cuda_memory::statistics().in_use_bytes;
    cuda_memory::reset_peak();
    if (t.graph) {
      cuda::StepGraph graph;
      run([&](const auto& f) { graph.run(f); });
      CHECK(graph.recorded());
      figure = Tensor();
    } else {
      run([](const auto& f) { f(); });
    }
    result.peak_bytes = cuda_memory::statistics().peak_in_use_bytes - before;
  }
  if (average) result.mean = safetensors_bytes({average->state(), {}});
  return result;
}

// The longest sums are those of weight gradients, over all pixels: sqrt(products) roundings, once
// per step.
void check_losses(const Trained& there, const Trained& here, const Training& t) {
  const auto pixels = static_cast<double>(t.images.size() / t.images[3]);
  for (size_t i = 0; i < here.losses.size(); ++i) {
    const double steps = static_cast<double>(i) + 1;
    CHECK(std::abs(there.losses[i] - here.losses[i]) <=
          steps * std::sqrt(pixels) * 0x1p-24 * here.losses[i]);
  }
}

TEST_CASE("cuda: ten steps give the CPU's losses, to float32 accuracy") {
  if constexpr (!kWithCuda) return;
  for (const Training& t : {Training{}, Training{.optimizer = "adam", .learning_rate = 1e-3},
                            Training{.network = "linknet/thin:width=4,depth=2"}}) {
    CAPTURE(t.network);
    CAPTURE(t.optimizer);
    const Trained here = train(t, Device::cpu);
    const Trained there = train(t, Device::cuda);
    check_losses(there, here, t);
    CHECK(here.losses.back() < here.losses.front());
  }
}

TEST_CASE("cuda: a recorded step gives the bits of an eager one") {
  if constexpr (!kWithCuda) return;
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const Trained recorded =
        train({.precision = precision, .graph = true, .ema = 0.5}, Device::cuda);
    const Trained eager = train({.precision = precision, .ema = 0.5}, Device::cuda);
    CHECK(recorded.losses == eager.losses);
    CHECK(recorded.mean == eager.mean);
  }
}

TEST_CASE("cuda: a recorded step drops what an eager one drops, another part at every step") {
  if constexpr (!kWithCuda) return;
  const Training t = {.network = kDropping, .graph = true, .steps = 4};
  const Trained recorded = train(t, Device::cuda);
  Training eager = t;
  eager.graph = false;
  CHECK(recorded.losses == train(eager, Device::cuda).losses);
  check_losses(recorded, train(eager, Device::cpu), t);
}

// Three parameters, of which the loss does not read the middle one.
class Three : public Module {
 public:
  void visit(Visitor& v) override {
    v("first", first);
    v("unread", unread);
    v("last", last);
  }
  Parameter first{.shape = {3}, .initializer = Initializer::constant(1)};
  Parameter unread{.shape = {5}, .initializer = Initializer::constant(1)};
  Parameter last{.shape = {17}, .initializer = Initializer::constant(2)};
};

// Six steps with decay: the parameters, and the optimizer's state.
std::vector<NamedTensor> six_steps(bool recorded) {
  Three module;
  initialize(module, 0);
  move_to(module, Device::cuda);
  ParameterSet parameters(module);
  const auto optimizer = make_optimizer(parameters, {.name = "adamw", .weight_decay = 0.1});
  const auto step = [&] {
    const Variable loss =
        add(sum(square(module.first.variable)), sum(square(module.last.variable)));
    parameters.zero_gradients();
    backward(loss);
    clip_gradients(parameters, 1);
    optimizer->apply();
  };
  if constexpr (kWithCuda) {
    cuda::StepGraph graph;
    for (int i = 0; i < 6; ++i) {
      optimizer->begin_step(0.01 * (i + 1));
      if (recorded)
        graph.run(step);
      else
        step();
    }
    CHECK(graph.recorded() == recorded);
  }
  move_to(module, Device::cpu);
  std::vector<NamedTensor> all = state_dict(module);
  for (NamedTensor& entry : optimizer->state()) all.push_back(std::move(entry));
  return all;
}

TEST_CASE("cuda: a recorded step passes over a parameter that nothing reads, as an eager one") {
  if constexpr (!kWithCuda) return;
  const std::vector<NamedTensor> recorded = six_steps(true);
  CHECK(safetensors_bytes({recorded, {}}) == safetensors_bytes({six_steps(false), {}}));
  const auto all = [&](const char* name, float value) {
    const auto found = std::ranges::find(recorded, name, &NamedTensor::name);
    REQUIRE(found != recorded.end());
    return std::ranges::all_of(found->tensor.values<float>(), [&](float v) { return v == value; });
  };
  CHECK(all("unread", 1));
  CHECK_FALSE(all("first", 1));
  CHECK_FALSE(all("last", 2));
}

TEST_CASE("cuda: with activations stored as bfloat16 a network learns the same in less memory") {
  if constexpr (!kWithCuda) return;
  const char* const network = "thin_unet:width=12,depth=2";  // whose activations outweigh its loss
  train({.network = network, .steps = 1}, Device::cuda);  // what the first product alone allocates
  const Trained wide = train({.network = network}, Device::cuda);
  const Trained narrow = train({.network = network, .precision = Precision::bf16}, Device::cuda);
  // Every op rounds by at most 2^-8, one after the other, in no common direction.
  const double allowed = std::sqrt(static_cast<double>(wide.ops)) * 0x1p-8;
  for (size_t i = 0; i < wide.losses.size(); ++i)
    CHECK(std::abs(narrow.losses[i] - wide.losses[i]) <= allowed * wide.losses[i]);
  CHECK(narrow.losses != wide.losses);
  MESSAGE("peak of a step: ", wide.peak_bytes, " bytes in float32, ", narrow.peak_bytes,
          " in bfloat16; losses ", wide.losses.back(), " and ", narrow.losses.back());
  CHECK(static_cast<double>(narrow.peak_bytes) < 0.7 * static_cast<double>(wide.peak_bytes));
}

// What a small network's step costs is the number of its launches. Of this one's 596 in float32 153
// are products of its 51 convolutions of 1 x 1; each of its 49 batch norms has two forward and two
// back. DECANT_LAUNCHES=1 shows them. In bfloat16 more are casts, one of all weights together.
TEST_CASE("cuda: a step starts no more kernels than it did") {
  if constexpr (!kWithCuda) return;
  const auto launches_of = [](Precision precision) {
    return train({.network = "linknet/mobilenet_v3_small_075",
                  .precision = precision,
                  .images = {2, 32, 32, 3},
                  .steps = 2},
                 Device::cuda)
        .launches;
  };
  CHECK(launches_of(Precision::f32) <= 596);
  CHECK(launches_of(Precision::bf16) <= 599);
}

}  // namespace
}  // namespace decant::nn
