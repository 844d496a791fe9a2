#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "engine/ops/losses.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape_ops.h"

using namespace decant;

namespace {

// The vectors of the KD reference: s(i) = round(c sin(a i + b), 6), i the flat [N, C, H, W] index.
double series(int64_t i, double a, double b, double c) {
  return std::round(c * std::sin(a * static_cast<double>(i) + b) * 1e6) / 1e6;
}

constexpr int64_t kN = 2;
constexpr int64_t kH = 2;
constexpr int64_t kW = 3;

// As an image batch [N, H, W, C].
Variable images(int64_t channels, double a, double b, double c, double floor = -1e30) {
  Tensor t({kN, channels, kH, kW}, DType::f64);
  int64_t i = 0;
  for (double& v : t.mutable_values<double>()) v = std::max(floor, series(i++, a, b, c));
  return permute(Variable(t), {0, 2, 3, 1});
}

const double kTight = 1e-10;

void check_value(const Variable& loss, double expected) {
  CHECK(loss.shape() == Shape{});
  CHECK(std::abs(loss.value().item() - expected) < kTight);
}

// [N, H, W, C] -> rows of positions [N C, H W], of classes [N H W, C], of everything [N, C H W].
Variable spatial_rows(const Variable& x) {
  return reshape(permute(x, {0, 3, 1, 2}), {kN * x.shape()[3], kH * kW});
}
Variable channel_rows(const Variable& x) {
  return reshape(x, {kN * kH * kW, x.shape()[3]});
}
Variable flat_rows(const Variable& x) {
  return reshape(x, {kN, kH * kW * x.shape()[3]});
}

}  // namespace

TEST_CASE("one-logit losses give the reference values") {
  const Variable teacher = images(1, 0.7, 0.3, 3);
  const Variable student = images(1, 1.1, -0.4, 2);
  check_value(mse(teacher, student), 7.143726114903249);
  check_value(kl_div_bernoulli(teacher, student), 0.5784193017723287);
  check_value(kl_div_bernoulli(teacher, student, {.temperature = 2}), 0.7752984576939135);

  const Tensor y = Tensor::of<uint8_t>({2, 2, 3, 1}, {1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1});
  check_value(bce_with_logits(student, y), 0.9651455701570932);
}

TEST_CASE("categorical distillation over two classes gives the reference values") {
  const Variable teacher = channel_rows(images(2, 0.7, 0.3, 3));
  const Variable student = channel_rows(images(2, 1.1, -0.4, 2));
  check_value(kl_div_rows(teacher, student), 0.5546991478927582);
  check_value(kl_div_rows(teacher, student, {.temperature = 2}), 1.1165189681814751);
}

TEST_CASE("hidden-map losses give the reference values") {
  const Variable teacher = mean(images(4, 0.37, 0.2, 2), {3}, true);
  const Variable student = mean(images(2, 0.53, -0.6, 1.5), {3}, true);
  check_value(mse(teacher, student), 0.1714096945242917);
  const Variable p = spatial_rows(teacher);
  const Variable q = spatial_rows(student);
  check_value(kl_div_rows(p, q), 0.017843541620158294);
  check_value(kl_div_rows(p, q, {.temperature = 2}), 0.01756358144549036);
}

TEST_CASE("regressor losses give the reference values for every choice of row") {
  const Variable teacher = images(4, 0.37, 0.2, 2);
  const Variable student = images(4, 0.29, 0.5, 1.2, 0);
  check_value(mse(teacher, student), 2.4051807912874374);
  check_value(kl_div_rows(spatial_rows(teacher), spatial_rows(student)), 0.28589017946879514);
  const KlOptions warm = {.temperature = 2};
  check_value(kl_div_rows(spatial_rows(teacher), spatial_rows(student), warm), 0.3175632386147994);
  check_value(kl_div_rows(channel_rows(teacher), channel_rows(student), warm), 0.9327278024754102);
  check_value(kl_div_rows(flat_rows(teacher), flat_rows(student), warm), 0.940390206455251);
}

TEST_CASE("the Bernoulli form is the categorical form over (0, z)") {
  const Variable teacher = images(1, 0.7, 0.3, 3);
  const Variable student = images(1, 1.1, -0.4, 2);
  const Variable zero(Tensor::zeros(teacher.shape(), DType::f64));
  for (const double t : {0.5, 1.0, 4.0}) {
    const Variable rows = kl_div_rows(channel_rows(concat({zero, teacher}, 3)),
                                      channel_rows(concat({zero, student}, 3)), {.temperature = t});
    check_value(kl_div_bernoulli(teacher, student, {.temperature = t}), rows.value().item());
  }
}

TEST_CASE("masked positions leave the sum and the divisor, masked rows leave the mean") {
  const Tensor teacher = Tensor::of<double>({3, 3}, {1, 2, 9, -1, 0.5, 9, 9, 9, 9});
  const Tensor student = Tensor::of<double>({3, 3}, {0, 1.5, -7, 2, 1, 3, 1, 2, 3});
  const Tensor mask = Tensor::of<double>({3, 3}, {1, 1, 0, 1, 1, 0, 0, 0, 0});
  const Variable masked = kl_div_rows(Variable(teacher), Variable(student), {}, mask);
  const Variable cropped = kl_div_rows(slice(slice(Variable(teacher), 0, 0, 2), 1, 0, 2),
                                       slice(slice(Variable(student), 0, 0, 2), 1, 0, 2));
  check_value(masked, cropped.value().item());

  // mean of (3 - 1)^2 and (5 - 2)^2, a mask of one channel for two
  const Tensor a = Tensor::of<double>({2, 2}, {3, 5, 100, 100});
  const Tensor b = Tensor::of<double>({2, 2}, {1, 2, 0, 0});
  check_value(mse(Variable(a), Variable(b), Tensor::of<uint8_t>({2, 1}, {1, 0})), 6.5);
}

TEST_CASE("no gradient reaches the teacher") {
  const Variable teacher = Variable::leaf(Tensor::of<double>({1, 2}, {1, 2}));
  const Variable student = Variable::leaf(Tensor::of<double>({1, 2}, {0, 3}));
  backward(kl_div_rows(teacher, student));
  backward(kl_div_bernoulli(teacher, student));
  CHECK_FALSE(teacher.grad().defined());
  CHECK(student.grad().defined());
  CHECK_FALSE(kl_div_rows(teacher, student.detach()).requires_grad());
}

TEST_CASE("losses survive logits far beyond the range of exp") {
  const Tensor far = Tensor::of<float>({1, 2}, {200, -300});
  const Tensor near = Tensor::of<float>({1, 2}, {-200, 300});
  // P = (1, 0), Q = (0, 1) to float64: P log(P / Q) = 500
  CHECK(kl_div_rows(Variable(far), Variable(near)).value().item() == doctest::Approx(500));
  CHECK(bce_with_logits(Variable(far), Tensor::of<float>({1, 2}, {0, 1})).value().item() ==
        doctest::Approx(250));
}

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kNothing = -std::numeric_limits<double>::infinity();

bool all_nan(std::span<const double> values) {
  return std::ranges::all_of(values, [](double v) { return std::isnan(v); });
}

}  // namespace

// A row whose logits have all run off is no masked one: only the mask decides what counts.
TEST_CASE("a row of nothing but -infinity is NaN, as its softmax is, and not 0") {
  const Tensor fine = Tensor::of<double>({2, 2}, {1, 2, 3, 4});
  const Tensor gone = Tensor::of<double>({2, 2}, {kNothing, kNothing, 0, 1});
  const Variable student = Variable::leaf(gone);
  const Variable loss = kl_div_rows(Variable(fine), student);
  CHECK(std::isnan(loss.value().item()));
  CHECK(std::isnan(kl_div_rows(Variable(gone), Variable(fine)).value().item()));
  backward(loss);
  CHECK(all_nan(student.grad().values<double>().first(2)));
  CHECK_FALSE(all_nan(student.grad().values<double>().last(2)));

  const Variable logits = Variable::leaf(gone);
  const Variable entropy = cross_entropy(logits, Tensor::of<int64_t>({2}, {0, 1}));
  CHECK(std::isnan(entropy.value().item()));
  backward(entropy);
  CHECK(all_nan(logits.grad().values<double>().first(2)));
}

TEST_CASE("a masked position has gradient 0, whatever stands in its row") {
  const Variable student = Variable::leaf(Tensor::of<double>({2, 3}, {1, kNan, 2, kNothing, 3, 4}));
  const Tensor teacher = Tensor::of<double>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor mask = Tensor::of<uint8_t>({2, 3}, {0, 1, 1, 0, 1, 1});
  backward(kl_div_rows(Variable(teacher), student, {}, mask));
  const auto d = student.grad().values<double>();
  CHECK(d[0] == 0);
  CHECK(all_nan(d.subspan(1, 2)));
  CHECK(d[3] == 0);
  CHECK(std::isfinite(d[4]));
}

TEST_CASE("NaN among the logits shows in the loss, wherever it stands") {
  const Tensor fine = Tensor::of<double>({1, 3}, {1, 2, 3});
  for (const Tensor& bad :
       {Tensor::of<double>({1, 3}, {kNan, 2, 3}), Tensor::of<double>({1, 3}, {1, kNan, 3}),
        Tensor::of<double>({1, 3}, {1, 2, kNan}), Tensor::full({1, 3}, kNan, DType::f64)}) {
    CHECK(std::isnan(kl_div_rows(Variable(fine), Variable(bad)).value().item()));
    CHECK(std::isnan(kl_div_rows(Variable(bad), Variable(fine)).value().item()));
    for (const int64_t label : {0, 1, 2})
      CHECK(std::isnan(
          cross_entropy(Variable(bad), Tensor::of<int64_t>({1}, {label})).value().item()));
  }
}
