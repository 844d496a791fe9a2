#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/ops/affine_warp.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/dropout.h"
#include "engine/ops/pool.h"
#include "engine/ops/reduce.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "engine/ops/softmax.h"

using namespace decant;

namespace {

// 0, 1, 2, .. as float64.
Variable counting(const Shape& shape) {
  Tensor t(shape, DType::f64);
  double i = 0;
  for (double& v : t.mutable_values<double>()) v = i++;
  return Variable(t);
}

void check_values(const Variable& y, const Shape& shape, const std::vector<double>& expected) {
  REQUIRE(y.shape() == shape);
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(y.value().values<double>()[i] == doctest::Approx(expected[i]).epsilon(1e-12));
}

bool equal(const Variable& a, const Variable& b) {
  return std::ranges::equal(a.value().values<double>(), b.value().values<double>());
}

}  // namespace

TEST_CASE("bilinear resize samples where PyTorch does") {
  const Variable x = counting({1, 2, 2, 1});
  const Variable half = resize(x, 4, 4, {.mode = Interpolation::bilinear});
  check_values(slice(half, 1, 0, 1), {1, 1, 4, 1}, {0, 0.25, 0.75, 1});
  const Variable corners =
      resize(x, 4, 4, {.mode = Interpolation::bilinear, .align_corners = true});
  check_values(slice(corners, 1, 0, 1), {1, 1, 4, 1}, {0, 1.0 / 3, 2.0 / 3, 1});
}

TEST_CASE("nearest resize takes pixel floor(i in / out)") {
  check_values(resize(counting({1, 1, 2, 1}), 1, 3), {1, 1, 3, 1}, {0, 0, 1});
  check_values(resize(counting({1, 1, 5, 1}), 1, 2), {1, 1, 2, 1}, {0, 2});
}

TEST_CASE("upsample_concat is resize, then concat") {
  const Variable x = counting({2, 2, 3, 2});
  const Variable skip = add_scalar(counting({2, 5, 6, 3}), 100);
  const Variable y = upsample_concat(x, skip);
  const Variable apart = concat({resize(x, 5, 6), skip}, 3);
  const auto expected = apart.value().values<double>();
  check_values(y, {2, 5, 6, 5}, {expected.begin(), expected.end()});
  const Variable alone = resize(x, 4, 6);
  const auto doubled = alone.value().values<double>();
  check_values(upsample_concat(x), {2, 4, 6, 2}, {doubled.begin(), doubled.end()});
}

TEST_CASE("pooling: padding never wins a maximum, counts as zero in a mean") {
  const Variable x = add_scalar(counting({1, 3, 3, 1}), -9);  // -9 .. -1
  check_values(max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1}), {1, 2, 2, 1},
               {-5, -4, -2, -1});
  check_values(avg_pool2d(x, {.kernel = 2, .stride = 2, .padding = 1}), {1, 2, 2, 1},
               {-9.0 / 4, (-8.0 - 7) / 4, (-6.0 - 3) / 4, (-5.0 - 4 - 2 - 1) / 4});
}

TEST_CASE("adaptive pooling windows cover the image and overlap") {
  // 5 -> 3: windows [0, 2), [1, 4), [3, 5)
  check_values(adaptive_avg_pool2d(counting({1, 1, 5, 1}), 1, 3), {1, 1, 3, 1}, {0.5, 2, 3.5});
}

TEST_CASE("a warp by half a turn about the centre turns the image") {
  const Variable x = counting({1, 3, 3, 1});
  const Affine turn = Affine::rotation(180, 1, 1);
  check_values(affine_warp(x, {&turn, 1}, 3, 3), {1, 3, 3, 1}, {8, 7, 6, 5, 4, 3, 2, 1, 0});
}

TEST_CASE("a warp moves the image forward, and borders are as named") {
  const Variable x = counting({1, 1, 4, 1});
  const Affine right = Affine::translation(2.5, 0);  // result u shows source u - 2.5
  check_values(affine_warp(x, {&right, 1}, 1, 4), {1, 1, 4, 1}, {2.5, 1.5, 0.5, 0.5});
  const WarpOptions seven = {.border = Border::constant, .value = 7};
  check_values(affine_warp(x, {&right, 1}, 1, 4, seven), {1, 1, 4, 1}, {7, 7, 3.5, 0.5});
  const Tensor inside = warp_coverage(1, 4, {&right, 1}, 1, 4, DType::f64);
  check_values(Variable(inside), {1, 1, 4, 1}, {0, 0, 0, 1});
  const Affine same;
  check_values(Variable(warp_coverage(1, 4, {&same, 1}, 1, 6, DType::f64)), {1, 1, 6, 1},
               {1, 1, 1, 1, 0, 0});
}

// Positions are read as at most 1e9 away: what does not fit an integer has no place of its own.
TEST_CASE("a warp from beyond any image sees the border") {
  const Variable x = counting({1, 6, 6, 1});
  const Affine away = Affine::translation(1e30, 0);  // samples at -1e9 = 0 modulo the period 10
  const WarpOptions seven = {.border = Border::constant, .value = 7};
  check_values(affine_warp(x, {&away, 1}, 1, 2), {1, 1, 2, 1}, {0, 0});
  check_values(affine_warp(x, {&away, 1}, 1, 2, seven), {1, 1, 2, 1}, {7, 7});
  const Affine back = Affine::translation(3, 1e30);
  check_values(affine_warp(x, {&back, 1}, 1, 2), {1, 1, 2, 1}, {3, 2});
}

TEST_CASE("reductions over neighbouring and separate axes") {
  const Variable x = counting({2, 3, 2});
  check_values(sum(x), {}, {66});
  check_values(sum(x, {0, 2}), {3}, {0 + 1 + 6 + 7, 2 + 3 + 8 + 9, 4 + 5 + 10 + 11});
  check_values(mean(x, {1}, true), {2, 1, 2}, {2, 3, 8, 9});
  check_values(max(x, {-1, 0}), {3}, {7, 9, 11});
  check_values(sum(x, {0, 1, 2}, true), {1, 1, 1}, {66});
}

TEST_CASE("max gives its gradient to the first of equals") {
  const Variable x = Variable::leaf(Tensor::of<double>({2, 3}, {1, 5, 5, 5, 0, 5}));
  backward(max(x));
  check_values(Variable(x.grad()), {2, 3}, {0, 1, 0, 0, 0, 0});
}

TEST_CASE("NaN is the maximum, wherever it stands") {
  const double nan = std::nan("");
  const double patterns[][4] = {
      {nan, 1, 2, 3}, {1, nan, 3, 2}, {4, 3, nan, 1}, {1, 2, 3, nan}, {nan, nan, nan, nan}};
  for (const auto& p : patterns)
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Tensor values = Tensor::of<double>({1, 2, 2, 1}, p).to(dtype);
      const Variable x = Variable::leaf(values);
      const Variable pooled = max_pool2d(x, {});
      CHECK(std::isnan(pooled.value().item()));
      CHECK(std::isnan(max(Variable(values)).value().item()));
      CHECK(std::isnan(max(Variable(values), {1}).value().to(DType::f64).values<double>()[0]) ==
            (std::isnan(p[0]) || std::isnan(p[2])));
      // The gradient goes where the NaN came from.
      backward(pooled, Tensor::full({1, 1, 1, 1}, 1, dtype));
      const Tensor gradient = x.grad().to(DType::f64);
      double at_nan = 0;
      for (size_t i = 0; i < 4; ++i)
        if (std::isnan(p[i])) at_nan += gradient.values<double>()[i];
      CHECK(at_nan == 1);
    }
}

TEST_CASE("max gives its gradient to the first NaN") {
  const double nan = std::nan("");
  const Variable x = Variable::leaf(Tensor::of<double>({4}, {9, nan, 9, nan}));
  backward(max(x));
  check_values(Variable(x.grad()), {4}, {0, 1, 0, 0});
}

TEST_CASE("float32 sums of many terms keep float64 accuracy") {
  const int64_t n = 3'000'001;
  const Tensor x = Tensor::full({n}, 0.1);
  const auto tenth = static_cast<double>(0.1F);
  const double expected = tenth * static_cast<double>(n);
  CHECK(std::abs(sum(Variable(x)).value().item() - expected) < expected * 0x1p-23);
}

TEST_CASE("float32 means over many pixels are rounded once") {
  const Tensor x = uniform({2, 60, 61, 5}, 0, 1).to(DType::f32);
  const auto check_rounded = [&](const auto& op) {
    const Tensor single = op(Variable(x)).value().to(DType::f64);
    const Tensor exact = op(Variable(x.to(DType::f64))).value();
    for (size_t i = 0; i < static_cast<size_t>(exact.size()); ++i) {
      const double y = exact.values<double>()[i];
      CHECK(std::abs(single.values<double>()[i] - y) <= y * (0x1p-24 + 0x1p-40));
    }
  };
  check_rounded([](const Variable& v) { return adaptive_avg_pool2d(v, 1, 1); });
  check_rounded([](const Variable& v) { return adaptive_avg_pool2d(v, 3, 4); });
  check_rounded([](const Variable& v) { return avg_pool2d(v, {.kernel = 12, .stride = 5}); });
}

TEST_CASE("arithmetic broadcasts as NumPy does") {
  const Variable a = counting({2, 1, 3});
  const Variable b = counting({2, 1});
  check_values(add(a, b), {2, 2, 3}, {0, 1, 2, 1, 2, 3, 3, 4, 5, 4, 5, 6});
  check_values(sub(b, a), {2, 2, 3}, {0, -1, -2, 1, 0, -1, -3, -4, -5, -2, -3, -4});
  check_values(mul(a, counting({3})), {2, 1, 3}, {0, 1, 4, 0, 4, 10});
  check_values(div(counting({1}), add_scalar(a, 1)), {2, 1, 3}, {0, 0, 0, 0, 0, 0});
  CHECK_THROWS_WITH_AS(add(a, counting({4, 2})),
                       "add: shapes do not broadcast, a [2, 1, 3] and b [4, 2]", Error);
}

TEST_CASE("softmax is a distribution along its axis, and survives large logits") {
  const Variable x = scale(counting({2, 3, 2}), 400);
  check_values(sum(softmax(x, 1), {1}), {2, 2}, {1, 1, 1, 1});
  check_values(log_softmax(counting({1, 2}), 1), {1, 2},
               {-std::log(1 + std::numbers::e), 1 - std::log(1 + std::numbers::e)});
  CHECK_THROWS_WITH_AS(softmax(counting({4, 1}), 1),
                       doctest::Contains("softmax: axis 1 of shape [4, 1] has length 1"), Error);
}

TEST_CASE("pad, permute, slice and concat put elements where they say") {
  const Variable x = counting({1, 2, 2, 1});
  check_values(pad2d(x, 1, 0, 0, 2, -1), {1, 3, 4, 1},
               {-1, -1, -1, -1, 0, 1, -1, -1, 2, 3, -1, -1});
  check_values(permute(counting({2, 3}), {1, 0}), {3, 2}, {0, 3, 1, 4, 2, 5});
  check_values(slice(counting({2, 3}), 1, -2, 3), {2, 2}, {1, 2, 4, 5});
  check_values(concat({counting({2, 1}), counting({2, 2})}, -1), {2, 3}, {0, 0, 1, 1, 2, 3});
}

TEST_CASE("dropout keeps the mean, and the key alone decides which elements go") {
  const Variable x(Tensor::full({200'000}, 1, DType::f64));
  const RngKey key = RngKey::of(3, "dropout");
  const Variable y = dropout(x, 0.25, key);
  double kept = 0;
  for (const double v : y.value().values<double>()) {
    CHECK_MESSAGE((v == 0 || v == 1 / 0.75), v);
    kept += v != 0 ? 1 : 0;
  }
  // Binomial: five standard deviations of the kept share are 5 sqrt(0.25 0.75 / n).
  CHECK(std::abs(kept / 200'000 - 0.75) < 5 * std::sqrt(0.25 * 0.75 / 200'000));
  CHECK(equal(y, dropout(x, 0.25, key)));
  CHECK_FALSE(equal(y, dropout(x, 0.25, key.part("other"))));
}

TEST_CASE("dropout drops channels and samples as a whole") {
  constexpr int64_t kSamples = 400;
  constexpr int64_t kPixels = 6;
  constexpr int64_t kChannels = 5;
  const Variable x(Tensor::full({kSamples, 2, 3, kChannels}, 1, DType::f64));
  for (const DropoutOf of : {DropoutOf::channels, DropoutOf::samples}) {
    const Variable y = dropout(x, 0.25, RngKey::of(3, "dropout"), of);
    const auto values = y.value().values<double>();
    const auto at = [&](int64_t n, int64_t pixel, int64_t c) {
      return values[static_cast<size_t>((n * kPixels + pixel) * kChannels + c)];
    };
    int64_t kept = 0;
    bool channels_differ = false;
    for (int64_t n = 0; n < kSamples; ++n)
      for (int64_t c = 0; c < kChannels; ++c) {
        const double first = at(n, 0, c);
        REQUIRE((first == 0 || first == 1 / 0.75));
        for (int64_t pixel = 1; pixel < kPixels; ++pixel) REQUIRE(at(n, pixel, c) == first);
        channels_differ = channels_differ || first != at(n, 0, 0);
        kept += first != 0 ? 1 : 0;
      }
    CHECK(channels_differ == (of == DropoutOf::channels));
    // Binomial: five standard deviations of the kept share are 5 sqrt(0.25 0.75 / n).
    const double draws =
        static_cast<double>(kSamples) * (of == DropoutOf::channels ? kChannels : 1);
    const double share = static_cast<double>(kept) / (kSamples * kChannels);
    CHECK(std::abs(share - 0.75) < 5 * std::sqrt(0.25 * 0.75 / draws));
  }
}
