// What the op table cannot show of the kernels that reduce columns and of those that move four
// floats at a time.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/cuda/step_graph.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/column_sums.h"
#include "engine/ops/columns.cuh"
#include "engine/ops/reduce.h"

#ifdef DECANT_EMULATED
#include "engine/cuda/emulated/schedule.h"
#endif

using namespace decant;
using namespace decant::cuda;

namespace {

template <int kWidth>
__global__ void visit_kernel(Tiles t, int* visits) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  for (int64_t row = s.first; row < s.end; row += t.slots)
    for (int k = 0; k < kWidth; ++k)
      ++visits[((s.image * t.length + row) * t.inner + s.column) * kWidth + k];
}

template <int kWidth>
void expect_each_once(Middle m, int64_t wanted_blocks) {
  const Tiles t = tiles_of(m, kWidth, wanted_blocks);
  CAPTURE(m.outer);
  CAPTURE(m.length);
  CAPTURE(m.inner);
  CHECK(t.images * t.slots * t.columns <= kColumnThreads);
  CHECK((t.chunks == 1 || t.images == 1));
  Tensor visits = Tensor::zeros({m.outer * m.length * m.inner}, DType::i32, Device::cuda);
  launch("visit", visit_kernel<kWidth>, t.grid(), t, visits.mutable_device_data<int32_t>());
  const Tensor host = visits.to(Device::cpu);
  for (const int32_t v : host.values<int32_t>()) CHECK(v == 1);
}

// Blocks and threads take another order with every call, where the device lets us say so.
void next_order() {
#ifdef DECANT_EMULATED
  auto schedule = emulated::schedule();
  ++schedule.seed;
  emulated::set_schedule(schedule);
#endif
}

// Sums over the middle of `m`, by both that share columns between blocks.
std::vector<float> sums_of(const Variable& x, Tensor& columns) {
  const Middle m = {x.shape()[0], x.shape()[1], x.shape()[2]};
  const Tensor middle = sum(x, {1}).value();
  column_sums("test", x.value(), m.outer * m.length, m.inner, columns);
  const Tensor a = middle.to(Device::cpu);
  const Tensor b = columns.to(Device::cpu);
  std::vector<float> all(a.values<float>().begin(), a.values<float>().end());
  all.insert(all.end(), b.values<float>().begin(), b.values<float>().end());
  return all;
}

}  // namespace

TEST_CASE("blocks that share columns: the last merges what all found, in order, call after call") {
  for (const Shape& shape : {Shape({1, 3000, 4}), Shape({2, 5000, 3}), Shape({3, 900, 132})}) {
    CHECK(reduction_tiles<1>({shape[0], shape[1], shape[2]}).chunks > 1);
    const Tensor host = randn(shape, 5).to(DType::f32);
    const Variable x(host.to(Device::cuda));
    Tensor columns({shape[2]}, DType::f32, Device::cuda);
    const std::vector<float> first = sums_of(x, columns);
    const std::vector<double> exact = [&] {
      std::vector<double> all(static_cast<size_t>((shape[0] + 1) * shape[2]));
      for (int64_t i = 0; i < host.size(); ++i) {
        const auto value = static_cast<double>(host.data<float>()[i]);
        const int64_t c = i % shape[2];
        all[static_cast<size_t>(i / (shape[1] * shape[2]) * shape[2] + c)] += value;
        all[static_cast<size_t>(shape[0] * shape[2] + c)] += value;
      }
      return all;
    }();
    // Of terms around 1, added up in trees.
    const double allowed = std::sqrt(static_cast<double>(shape[0] * shape[1])) * 16 * 0x1p-24;
    for (size_t i = 0; i < exact.size(); ++i)
      CHECK(std::abs(static_cast<double>(first[i]) - exact[i]) < allowed);
    for (int i = 0; i < 3; ++i) {
      next_order();
      CHECK(sums_of(x, columns) == first);
    }
  }
}

TEST_CASE("a replay shares columns as the step did that it repeats") {
  Tensor x({1, 3000, 4}, DType::f32, Device::cuda);
  Tensor result;
  StepGraph graph;
  for (int i = 0; i < 5; ++i) {
    x.copy_from(randn(x.shape(), static_cast<uint64_t>(i)).to(DType::f32).to(Device::cuda));
    graph.run([&] { result = sum(Variable(x), {1}).value(); });
    const Tensor replayed = result.to(Device::cpu);
    const Tensor eager = sum(Variable(x), {1}).value().to(Device::cpu);
    for (int64_t k = 0; k < 4; ++k) CHECK(replayed.data<float>()[k] == eager.data<float>()[k]);
  }
  CHECK(graph.recorded());
}

TEST_CASE("tiles of columns meet every element once") {
  for (const int64_t wanted_blocks : {int64_t{1}, int64_t{64}, INT64_MAX})
    for (const Middle m : {Middle{1, 1, 1}, Middle{1, 1000, 1}, Middle{300, 2, 1}, Middle{7, 9, 3},
                           Middle{2, 70, 40}, Middle{3, 17, 132}, Middle{5, 100, 1}}) {
      expect_each_once<1>(m, wanted_blocks);
      if (m.inner % 4 == 0) expect_each_once<4>(m, wanted_blocks);
    }
}

TEST_CASE("a sum on cuda keeps what float32 alone would lose, and infinity") {
  const auto sum_on_cuda = [](const Tensor& x) {
    return sum(Variable(x.to(Device::cuda))).value().to(Device::cpu).item();
  };
  Tensor x = Tensor::full({10001}, 1);
  x.mutable_data<float>()[0] = 1e8F;
  x.mutable_data<float>()[10000] = -1e8F;
  CHECK(sum_on_cuda(x) == 9999);
  x.mutable_data<float>()[77] = INFINITY;
  CHECK(sum_on_cuda(x) == std::numeric_limits<double>::infinity());
}

TEST_CASE("the maximum on cuda is NaN where there is one, and the first of equals") {
  Tensor x = Tensor::zeros({300, 2});
  const Variable leaf = Variable::leaf(x.to(Device::cuda));
  backward(sum(max(leaf, {0})));
  const Tensor dx = leaf.grad().to(Device::cpu);
  for (int64_t i = 0; i < dx.size(); ++i) CHECK(dx.data<float>()[i] == (i < 2 ? 1 : 0));
  x.mutable_data<float>()[401] = NAN;
  x.mutable_data<float>()[403] = INFINITY;
  const Tensor y = max(Variable(x.to(Device::cuda)), {0}).value().to(Device::cpu);
  CHECK(y.data<float>()[0] == 0);
  CHECK(std::isnan(y.data<float>()[1]));
}

TEST_CASE("operands that do not begin at 16 bytes are moved one float at a time") {
  const Tensor memory = randn({13}).to(DType::f32);
  const Variable a(memory.to(Device::cuda).view(1, {3, 4}));
  const Variable b(memory.view(0, {3, 4}).to(Device::cuda));
  const Tensor y = add(a, b).value().to(Device::cpu);
  const Tensor z = sum(a, {0}).value().to(Device::cpu);
  const float* x = memory.data<float>();
  for (int64_t i = 0; i < 12; ++i) CHECK(y.data<float>()[i] == x[i + 1] + x[i]);
  for (int64_t i = 0; i < 4; ++i) {
    const double exact = static_cast<double>(x[i + 1]) + static_cast<double>(x[i + 5]) +
                         static_cast<double>(x[i + 9]);
    CHECK(z.data<float>()[i] == static_cast<float>(exact));
  }
}
