#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/cuda/step_graph.h"
#include "engine/ops/affine_warp.h"

using namespace decant;

namespace {

std::vector<float> values_of(const Tensor& t) {
  const Tensor host = t.to(Device::cpu);
  return {host.values<float>().begin(), host.values<float>().end()};
}

std::vector<Affine> moves(int i) {
  return {Affine::rotation(10.0 * i, 2, 1.5), Affine::translation(0.3 * i, -0.7)};
}

}  // namespace

TEST_CASE("a recorded warp moves by the maps that each replay finds") {
  const Variable x(randn({2, 4, 5, 3}).to(DType::f32).to(Device::cuda));
  Tensor table = warp_table(moves(0)).to(Device::cuda);
  Tensor warped;
  Tensor covered;
  cuda::StepGraph graph;
  for (int i = 0; i < 4; ++i) {
    table.copy_from(warp_table(moves(i)).to(Device::cuda));
    graph.run([&] {
      warped = affine_warp(x, table, 4, 5).value();
      covered = warp_coverage(4, 5, table, 4, 5);
    });
    CHECK(values_of(warped) == values_of(affine_warp(x, moves(i), 4, 5).value()));
    CHECK(values_of(covered) == values_of(warp_coverage(4, 5, moves(i), 4, 5)));
  }
  CHECK(graph.recorded());
}

// Where a float's rounding would show: a thousand pixels from the origin.
TEST_CASE("positions far from the origin are as exact as on the CPU") {
  const Tensor x = randn({1, 1, 2000, 1}).to(DType::f32);
  const std::vector<Affine> move = {Affine{{1.0001, 0, -0.3, 0, 1, 0}}};
  const Tensor there = affine_warp(Variable(x.to(Device::cuda)), move, 1, 2000).value();
  const Tensor here = affine_warp(Variable(x.to(DType::f64)), move, 1, 2000).value();
  const Tensor copy = there.to(Device::cpu);
  for (int64_t i = 0; i < 2000; ++i)
    CHECK(std::abs(copy.data<float>()[i] - here.data<double>()[i]) < 1e-6);
}
