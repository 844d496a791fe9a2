// Values and gradients of the terms against their definitions, written out plainly in maps.h.
#include "kd/losses/map_loss.h"

#include <doctest/doctest.h>

#include "engine/check/op_row.h"
#include "kd/distiller.h"
#include "tests/kd/maps.h"

using namespace decant;
using namespace decant::kd;

namespace {

constexpr double kTolerance = 1e-12;  // float64 sums of some hundred terms of order one

// Some positions of image 0, all of image 1, none of image 2.
std::vector<bool> flags_of(const Shape& s) {
  std::vector<bool> flags;
  for (int64_t p = 0; p < s[0] * s[1] * s[2]; ++p) {
    const int64_t image = p / (s[1] * s[2]);
    flags.push_back(image == 1 || (image == 0 && p % 3 != 0));
  }
  return flags;
}

Tensor mask_of(const Shape& s) {
  Tensor mask({s[0], s[1], s[2], 1}, DType::f64);
  auto* out = mask.mutable_data<double>();
  for (const bool flag : flags_of(s)) *out++ = flag ? 1 : 0;
  return mask;
}

struct Result {
  double loss;
  Tensor gradient;
};

Result run(const Tensor& teacher, const Tensor& student, const Tensor& mask,
           const std::function<Variable(const MapPair&)>& loss) {
  const Variable s = Variable::leaf(student);
  const Variable t = Variable::leaf(teacher);
  const Variable y = loss({.student = s, .teacher = t, .mask = mask});
  backward(y);
  CHECK_MESSAGE(!t.grad().defined(), "a gradient reached the teacher");
  return {y.value().item(), s.grad()};
}

void check_equal(const Result& result, const Expected& expected) {
  CHECK(std::abs(result.loss - expected.loss) <= kTolerance);
  CHECK(largest_difference(result.gradient.values<double>(), expected.gradient) <= kTolerance);
}

}  // namespace

TEST_CASE("kld is its definition for every axis, temperature and mask") {
  const Shape shape{3, 3, 4, 5};
  const Tensor teacher = randn(shape, 1);
  const Tensor student = randn(shape, 2);
  for (const bool masked : {false, true}) {
    const Tensor mask = masked ? mask_of(shape) : Tensor();
    const std::vector<bool> flags = masked ? flags_of(shape) : std::vector<bool>();
    for (const KldAxis axis : {KldAxis::classes, KldAxis::channel, KldAxis::spatial, KldAxis::flat})
      for (const double temperature : {0.5, 1.0, 4.0}) {
        CAPTURE(masked);
        CAPTURE(static_cast<int>(axis));
        CAPTURE(temperature);
        check_equal(
            run(teacher, student, mask,
                [&](const MapPair& maps) { return map_kld("test", maps, axis, temperature); }),
            plain_kld(teacher, student, axis, temperature, flags));
      }
  }
}

TEST_CASE("kld over the classes of one logit is the Bernoulli form") {
  const Shape shape{3, 3, 4, 1};
  const Tensor teacher = randn(shape, 3);
  const Tensor student = randn(shape, 4);
  for (const bool masked : {false, true})
    for (const double temperature : {1.0, 3.0}) {
      CAPTURE(masked);
      check_equal(run(teacher, student, masked ? mask_of(shape) : Tensor(),
                      [&](const MapPair& maps) {
                        return map_kld("test", maps, KldAxis::classes, temperature);
                      }),
                  plain_bernoulli(teacher, student, temperature,
                                  masked ? flags_of(shape) : std::vector<bool>()));
    }
}

TEST_CASE("mse is its definition with any mask") {
  const Shape shape{3, 3, 4, 5};
  const Tensor teacher = randn(shape, 5);
  const Tensor student = randn(shape, 6);
  for (const bool masked : {false, true}) {
    CAPTURE(masked);
    check_equal(run(teacher, student, masked ? mask_of(shape) : Tensor(),
                    [&](const MapPair& maps) { return map_mse("test", maps); }),
                plain_mse(teacher, student, masked ? flags_of(shape) : std::vector<bool>()));
  }
}

TEST_CASE("one logit and the two classes (0, z) have the same divergence") {
  const Shape one{2, 3, 4, 1};
  const Tensor teacher = randn(one, 7);
  const Tensor student = randn(one, 8);
  const auto with_zero = [](const Tensor& z) {
    const Shape& s = z.shape();
    Tensor both({s[0], s[1], s[2], 2}, DType::f64);
    auto* out = both.mutable_data<double>();
    for (const double v : z.values<double>()) {
      *out++ = 0;
      *out++ = v;
    }
    return both;
  };
  for (const double temperature : {1.0, 2.0}) {
    const auto kld = [&](const MapPair& maps) {
      return map_kld("test", maps, KldAxis::classes, temperature);
    };
    const Result bernoulli = run(teacher, student, {}, kld);
    const Result categorical = run(with_zero(teacher), with_zero(student), {}, kld);
    CHECK(std::abs(bernoulli.loss - categorical.loss) <= 1e-15);
    const auto both = categorical.gradient.values<double>();
    const auto one_logit = bernoulli.gradient.values<double>();
    for (size_t i = 0; i < one_logit.size(); ++i)
      CHECK(std::abs(one_logit[i] - both[2 * i + 1]) <= 1e-15);
  }
}

TEST_CASE("hidden terms send 1 / C of the averaged map's gradient to every channel") {
  // dL/dh = 2 (a_S - a_T) / (N M C_S) for mse, T (Q - P) / (N C_S) for kld
  const Tensor teacher = randn({2, 3, 4, 5}, 9);
  const Tensor student = randn({2, 3, 4, 3}, 10);
  const Tensor a_teacher = plain_channel_mean(teacher);
  const Tensor a_student = plain_channel_mean(student);
  for (const LossKind loss : {LossKind::mse, LossKind::kld}) {
    const TermSpec term = {.pathway = Pathway::hidden, .loss = loss, .temperature = 2};
    const Distiller distiller(one_term(term), {.hidden_channels = 3}, {.hidden_channels = 5}, 0,
                              DType::f64);
    const Variable leaf = Variable::leaf(student);
    const Variable total =
        distiller.loss(hidden_output(leaf), hidden_output(Variable(teacher)), {}).total;
    backward(total);
    const Expected averaged = loss == LossKind::mse
                                  ? plain_mse(a_teacher, a_student)
                                  : plain_kld(a_teacher, a_student, KldAxis::spatial, 2);
    CHECK(std::abs(total.value().item() - averaged.loss) <= kTolerance);
    std::vector<double> expected;
    for (const double g : averaged.gradient)
      for (int c = 0; c < 3; ++c) expected.push_back(g / 3);
    CHECK(largest_difference(leaf.grad().values<double>(), expected) <= kTolerance);
  }
}

TEST_CASE("a batch with everything masked gives zero, and zero gradients") {
  const Shape shape{2, 2, 2, 3};
  const Tensor mask = Tensor::zeros({2, 2, 2, 1}, DType::f64);
  const auto kld = [](const MapPair& m) { return map_kld("test", m, KldAxis::spatial, 1); };
  const auto mse = [](const MapPair& m) { return map_mse("test", m); };
  for (const std::function<Variable(const MapPair&)>& loss :
       {std::function<Variable(const MapPair&)>(kld), {mse}}) {
    const Result result = run(randn(shape, 11), randn(shape, 12), mask, loss);
    CHECK(result.loss == 0);
    for (const double g : result.gradient.values<double>()) CHECK(g == 0);
  }
}

TEST_CASE("a softmax over one value is refused, with both shapes") {
  const MapPair one_channel = {
      Variable(randn({1, 2, 3, 1}, 1)), Variable(randn({1, 2, 3, 1}, 2)), {}};
  CHECK_THROWS_WITH_AS(map_kld("kd.test", one_channel, KldAxis::channel, 1),
                       "kd.test: expected at least two values to a distribution, got student "
                       "[1, 2, 3, 1] and teacher [1, 2, 3, 1] over their channels",
                       Error);
  const MapPair one_position = {
      Variable(randn({2, 1, 1, 3}, 1)), Variable(randn({2, 1, 1, 3}, 2)), {}};
  CHECK_THROWS_WITH_AS(map_kld("kd.test", one_position, KldAxis::spatial, 1),
                       "kd.test: expected at least two values to a distribution, got student "
                       "[2, 1, 1, 3] and teacher [2, 1, 1, 3] over their positions",
                       Error);
}
