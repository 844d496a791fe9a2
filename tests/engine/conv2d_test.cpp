#include "engine/ops/conv2d.h"

#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/ops/conv_transpose2d.h"

using namespace decant;

namespace {

double at(const Variable& v, int64_t i) {
  return v.value().to(DType::f64).data<double>()[i];
}

}  // namespace

TEST_CASE("conv2d is a cross-correlation: the kernel is not flipped") {
  const Tensor image = Tensor::of<double>({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Tensor kernel = Tensor::of<double>({1, 2, 2, 1}, {1, 0, 0, 10});
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Variable x(image.to(dtype));
    const Variable w(kernel.to(dtype));
    const Variable y = conv2d(x, w);
    CHECK(y.shape() == Shape({1, 2, 2, 1}));
    CHECK(at(y, 0) == 51);  // 1 + 10 * 5
    CHECK(at(y, 1) == 62);
    CHECK(at(y, 2) == 84);
    CHECK(at(y, 3) == 95);
    // A row above and a column to the right, stride 2.
    const Variable z = conv2d(x, w, {}, {.stride = 2, .padding = {1, 0, 0, 1}});
    CHECK(z.shape() == Shape({1, 2, 2, 1}));
    CHECK(at(z, 0) == 20);
    CHECK(at(z, 1) == 0);
    CHECK(at(z, 2) == 84);
    CHECK(at(z, 3) == 6);
  }
}

TEST_CASE("conv2d names all types where one is another") {
  const Variable x(Tensor::zeros({1, 2, 2, 1}));
  const Variable w(Tensor::zeros({1, 1, 1, 1}));
  CHECK_THROWS_WITH_AS(conv2d(x, w, Variable(Tensor::zeros({1}, DType::f64))),
                       doctest::Contains("got x float32, w float32 and b float64"), Error);
  CHECK_THROWS_WITH_AS(conv2d(x, Variable(Tensor::zeros({1, 1, 1, 1}, DType::f64))),
                       doctest::Contains("got x float32 and w float64"), Error);
}

TEST_CASE("conv_transpose2d spreads each pixel by the kernel") {
  const Tensor image = Tensor::of<double>({1, 1, 2, 1}, {1, 10});
  const Tensor kernel = Tensor::of<double>({1, 1, 3, 1}, {1, 2, 3});
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Variable x(image.to(dtype));
    const Variable w(kernel.to(dtype));
    const Variable y = conv_transpose2d(x, w, {}, {.stride = 2});
    CHECK(y.shape() == Shape({1, 1, 5, 1}));
    const double expected[] = {1, 2, 13, 20, 30};
    for (int64_t i = 0; i < 5; ++i) CHECK(at(y, i) == expected[i]);
    const Variable z =
        conv_transpose2d(x, w, {}, {.stride = 2, .padding = {0, 0, 1, 1}, .output_padding = 1});
    CHECK(z.shape() == Shape({1, 2, 4, 1}));
    const double inside[] = {2, 13, 20, 30, 0, 0, 0, 0};
    for (int64_t i = 0; i < 8; ++i) CHECK(at(z, i) == inside[i]);
  }
}

TEST_CASE("conv2d computes the gradients of its bias, weights and image") {
  const Variable x = Variable::leaf(Tensor::of<float>({1, 1, 3, 1}, {1, 2, 3}));
  const Variable w = Variable::leaf(Tensor::of<float>({1, 1, 2, 1}, {10, 100}));
  const Variable b = Variable::leaf(Tensor::of<float>({1}, {0.5F}));
  const Variable y = conv2d(x, w, b);
  CHECK(at(y, 0) == 210.5);
  CHECK(at(y, 1) == 320.5);
  backward(y, Tensor::of<float>({1, 1, 2, 1}, {1, 2}));
  const float dx[] = {10, 120, 200};
  for (size_t i = 0; i < 3; ++i) CHECK(x.grad().values<float>()[i] == dx[i]);
  CHECK(w.grad().values<float>()[0] == 5);  // 1 * 1 + 2 * 2
  CHECK(w.grad().values<float>()[1] == 8);
  CHECK(b.grad().item() == 3);
}

TEST_CASE("a trace of conv2d shows its options") {
  Trace trace;
  conv2d(Variable(Tensor::zeros({1, 4, 4, 2})), Variable(Tensor::zeros({2, 3, 3, 1})), {},
         {.stride = 2, .padding = 1, .groups = 2});
  REQUIRE(trace.steps().size() == 1);
  const Attributes& a = trace.steps()[0].attributes;
  CHECK(trace.steps()[0].op->name == "conv2d");
  CHECK(a[0].first == "stride");
  CHECK(std::get<int64_t>(a[0].second) == 2);
  CHECK(std::get<std::vector<int64_t>>(a[1].second) == std::vector<int64_t>{1, 1, 1, 1});
}
