#include "engine/ops/batch_norm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

using namespace decant;

namespace {

Tensor channel(double value, DType dtype) {
  return Tensor::full({1}, value, dtype);
}

double at(const Tensor& t, int64_t i) {
  return t.to(DType::f64).data<double>()[i];
}

}  // namespace

// Golden values of PyTorch 1.13.1's BatchNorm2d, and by hand: mean 3.5, biased variance 5.25,
// unbiased 6.
TEST_CASE("batch norm normalises by the biased variance and stores the unbiased") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = Tensor::of<double>({2, 2, 2, 1}, {0, 1, 2, 3, 4, 5, 6, 7}).to(dtype);
    Tensor mean = channel(0, dtype);
    Tensor var = channel(1, dtype);
    const Variable y = batch_norm(Variable(x), Variable(channel(1, dtype)),
                                  Variable(channel(0, dtype)), mean, var, {.training = true});
    const double tolerance = dtype == DType::f32 ? 1e-6 : 1e-7;  // the golden values have 8 digits
    CHECK(std::abs(at(mean, 0) - 0.35) < tolerance);
    CHECK(std::abs(at(var, 0) - 1.5) < tolerance);
    CHECK(std::abs(at(y.value(), 0) + 1.5275238) < tolerance);
    CHECK(std::abs(at(y.value(), 1) + 1.0910884) < tolerance);
  }
}

TEST_CASE("batch norm with running moments leaves them alone and is affine") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Tensor mean = channel(2, dtype);
    Tensor var = channel(4, dtype);
    const Variable y = batch_norm(Variable(Tensor::of<double>({3, 1}, {0, 2, 6}).to(dtype)),
                                  Variable(channel(10, dtype)), Variable(channel(1, dtype)), mean,
                                  var, {.eps = 1e-30, .activation = Activation::relu6},
                                  Variable(Tensor::of<double>({3, 1}, {0, 0.5, 0}).to(dtype)));
    CHECK(at(y.value(), 0) == 0);    // relu6(-9)
    CHECK(at(y.value(), 1) == 1.5);  // relu6(1 + 0.5)
    CHECK(at(y.value(), 2) == 6);    // relu6(21)
    CHECK(at(mean, 0) == 2);
    CHECK(at(var, 0) == 4);
  }
}

TEST_CASE("batch norm's moments survive a mean far from zero") {
  // Values 1e4 + {-1, 1}: their variance 1 is lost where squares are subtracted in float32.
  Tensor x({4096, 3});
  auto* values = x.mutable_data<float>();
  for (int64_t i = 0; i < x.size(); ++i) values[i] = 1e4F + (i / 3 % 2 == 0 ? -1.0F : 1.0F);
  Tensor mean = Tensor::zeros({3});
  Tensor var = Tensor::zeros({3});
  const Variable y =
      batch_norm(Variable(x), Variable(Tensor::full({3}, 1)), Variable(Tensor::zeros({3})), mean,
                 var, {.training = true, .momentum = 1});
  for (int64_t c = 0; c < 3; ++c) {
    CHECK(at(mean, c) == 1e4);
    CHECK(std::abs(at(var, c) - 4096.0 / 4095.0) < 1e-6);
    CHECK(std::abs(at(y.value(), c) + 1) < 1e-4);
  }
}

// 0, 1, .., n - 1: mean (n - 1) / 2, biased variance (n^2 - 1) / 12, most of it between the tiles.
TEST_CASE("batch norm's moments merge tiles whose means differ") {
  constexpr int64_t kPixels = 5000;
  Tensor x({kPixels, 3});
  auto* values = x.mutable_data<float>();
  for (int64_t pixel = 0; pixel < kPixels; ++pixel)
    std::fill_n(values + 3 * pixel, 3, static_cast<float>(pixel));
  Tensor mean = Tensor::zeros({3});
  Tensor var = Tensor::zeros({3});
  batch_norm(Variable(x), Variable(Tensor::full({3}, 1)), Variable(Tensor::zeros({3})), mean, var,
             {.training = true, .momentum = 1});
  const auto n = static_cast<double>(kPixels);
  const double unbiased = (n * n - 1) / 12 * n / (n - 1);
  const double tolerance = std::sqrt(n) * std::ldexp(1.0, -24);
  for (int64_t c = 0; c < 3; ++c) {
    CHECK(std::abs(at(mean, c) - (n - 1) / 2) < tolerance * n);
    CHECK(std::abs(at(var, c) - unbiased) < tolerance * unbiased);
  }
}

TEST_CASE("a shifted batch gives the same gradient: sums over dx vanish in training") {
  const Variable x = Variable::leaf(Tensor::of<double>({4, 1}, {1, 2, 4, 9}));
  Tensor mean = channel(0, DType::f64);
  Tensor var = channel(1, DType::f64);
  const Variable y = batch_norm(x, Variable(channel(2, DType::f64)),
                                Variable(channel(0, DType::f64)), mean, var, {.training = true});
  backward(y, Tensor::of<double>({4, 1}, {0.3, -1, 2, 0.1}));
  double sum = 0;
  double moment = 0;
  for (int64_t i = 0; i < 4; ++i) {
    sum += at(x.grad(), i);
    moment += at(x.grad(), i) * at(x.value(), i);
  }
  CHECK(std::abs(sum) < 1e-12);
  CHECK(std::abs(moment) < 1e-4);  // exactly zero for eps = 0
}

TEST_CASE("a later training step does not change what backward saw") {
  Tensor mean = channel(0, DType::f64);
  Tensor var = channel(1, DType::f64);
  const Variable shift(channel(0, DType::f64));
  // The gradient of the scale, sum dy (x - mean) / sqrt(var + eps), sees both moments.
  const auto gradient = [&](bool disturb) {
    mean.fill(0);
    var.fill(1);
    const Variable x(Tensor::of<double>({2, 1}, {1, 2}));
    const Variable scale = Variable::leaf(channel(1, DType::f64));
    const Variable y = batch_norm(x, scale, shift, mean, var, {});
    if (disturb) batch_norm(x, scale.detach(), shift, mean, var, {.training = true});
    backward(y, Tensor::of<double>({2, 1}, {1, 1}));
    return at(scale.grad(), 0);
  };
  CHECK(std::abs(gradient(false) - 3 / std::sqrt(1 + 1e-5)) < 1e-12);
  CHECK(gradient(false) == gradient(true));
}
