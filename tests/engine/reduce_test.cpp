#include "engine/ops/reduce.h"

#include <doctest/doctest.h>

#include "engine/core/error.h"

using namespace decant;

namespace {

Variable zeros(const Shape& shape) {
  return Variable(Tensor::zeros(shape));
}

}  // namespace

TEST_CASE("empty extents: sums of nothing are 0, results without elements are empty") {
  const Variable x = Variable::leaf(Tensor({2, 3, 0}));  // three rows of nothing, in two images
  for (const auto& function : {sum, mean, max}) {
    const Variable y = function(x, {1}, false);
    CHECK(y.shape() == Shape{2, 0});
    backward(y, Tensor({2, 0}));
    CHECK(x.grad().shape() == Shape{2, 3, 0});
    CHECK(function(zeros({0, 3}), {1}, false).shape() == Shape{0});
    CHECK(function(zeros({0, 3, 2}), {2}, true).shape() == Shape{0, 3, 1});
    CHECK(function(zeros({2, 0, 3, 2}), {0, 2}, false).shape() == Shape{0, 2});
  }
  const Variable nothing = sum(x, {2}, false);
  CHECK(nothing.shape() == Shape{2, 3});
  for (const float value : nothing.value().values<float>()) CHECK(value == 0);
  CHECK(sum(zeros({0}), {}, false).value().item() == 0);
  CHECK_THROWS_AS(mean(x, {2}, false), Error);
  CHECK_THROWS_AS(max(x, {2}, false), Error);
}

// 2^24 + 1 is no float32: rounded between the axes the sum is 0.
TEST_CASE("sums over axes apart are rounded once") {
  const Tensor x = Tensor::of<float>({2, 1, 2}, {0x1p24F, 1, -0x1p24F, 0});
  CHECK(sum(Variable(x), {0, 2}, false).value().item() == 1);
  CHECK(mean(Variable(x), {0, 2}, false).value().item() == 0.25);
}
