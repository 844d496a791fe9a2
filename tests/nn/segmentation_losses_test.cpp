// The losses of SMP beside its own values, and their gradients beside central differences.
#include "nn/segmentation_losses.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "engine/check/gradient_check.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"

namespace decant::nn {
namespace {

/// A tensor [N, C, H, W] of the values f(0), f(1), .. in PyTorch's order, as [N, H, W, C].
template <class F>
Tensor from_torch(Shape torch, const F& f) {
  Tensor result({torch[0], torch[2], torch[3], torch[1]}, DType::f64);
  const int64_t pixels = torch[2] * torch[3];
  for (int64_t i = 0; i < result.size(); ++i) {
    const int64_t n = i / (pixels * torch[1]);
    const int64_t c = i / pixels % torch[1];
    result.mutable_data<double>()[(n * pixels + i % pixels) * torch[1] + c] = f(i);
  }
  return result;
}

/// torch.linspace(-3, 3, size)
Variable ramp(Shape torch) {
  const double step = 6.0 / static_cast<double>(torch.size() - 1);
  return Variable(from_torch(torch, [=](int64_t i) { return -3 + step * static_cast<double>(i); }));
}

Tensor every(Shape torch, int64_t n) {
  return from_torch(torch, [=](int64_t i) { return i % n == 0 ? 1.0 : 0.0; });
}

void check_is(const Variable& loss, double golden, double tolerance = 1e-9) {
  CAPTURE(golden);
  CHECK(std::abs(loss.value().item() - golden) <= tolerance);
}

const Shape kBinary = {2, 1, 4, 4};
const Shape kClasses = {1, 3, 4, 4};

/// (7 i) mod 3, every fifth one 255 where asked for.
Tensor classes(bool ignore = false) {
  return from_torch({1, 1, 4, 4}, [=](int64_t i) {
    return ignore && i % 5 == 0 ? 255.0 : static_cast<double>(i * 7 % 3);
  });
}

// SMP 0.5.1 on PyTorch 1.13.1, computed and printed in float32.
TEST_CASE("binary losses have SMP's values") {
  constexpr double kFloat = 2e-7;
  const Variable z = ramp(kBinary);
  const Tensor y = every(kBinary, 3);
  check_is(soft_dice_loss(z, y), 0.6039759, kFloat);
  check_is(soft_dice_loss(z, y, {.log_loss = true}), 0.9262801, kFloat);
  check_is(jaccard_loss(z, y), 0.7530985, kFloat);
  check_is(tversky_loss(z, y, {{}, 0.3, 0.7, 1.33}), 0.4760291, kFloat);
  check_is(focal_loss(z, y), 0.6947032, kFloat);
  check_is(focal_loss(z, y, {.alpha = 0.25}), 0.3952592, kFloat);
  check_is(soft_bce_loss(z, y), 1.0583853, kFloat);
  check_is(soft_bce_loss(z, y, {.smooth_factor = 0.1}), 1.0517321, kFloat);
  const Tensor soft = sigmoid(Variable(from_torch(kBinary, [&](int64_t i) {
                        return -3 + 6.0 / 31 * static_cast<double>((i + 16) % 32);
                      }))).value();
  check_is(soft_dice_loss(z, soft), 0.5811008, kFloat);
  check_is(jaccard_loss(z, soft), 0.7350585, kFloat);
  check_is(soft_dice_loss(z, sigmoid(z).value()), 0);
}

// SMP 0.6.0 on PyTorch 2.15, whose losses are these.
TEST_CASE("losses of several classes have SMP's values, and what is ignored counts as there") {
  const Variable z = ramp(kClasses);
  const Tensor y = classes();
  const Tensor some = classes(true);
  const Tensor labels = every(kClasses, 4);
  const Tensor absent = Tensor::zeros({1, 4, 4, 1}, DType::f64);
  const RegionOptions one{.mode = Mode::multiclass};
  const RegionOptions many{.mode = Mode::multilabel};
  const RegionOptions smooth{.mode = Mode::multiclass, .smooth = 1};
  check_is(soft_dice_loss(z, y, one), 0.781836555);
  check_is(soft_dice_loss(z, labels, many), 0.724661940);
  check_is(soft_dice_loss(z, y, smooth), 0.622888098);
  check_is(soft_dice_loss(z, absent, one), 0.323693645);
  check_is(soft_dice_loss(z, some, {.mode = Mode::multiclass, .ignore_index = 255}), 0.773547335);
  check_is(jaccard_loss(z, y, one), 0.865426844);
  check_is(jaccard_loss(z, labels, many), 0.836642678);
  check_is(jaccard_loss(z, y, smooth), 0.762620288);
  check_is(jaccard_loss(z, absent, one), 0.328442774);
  check_is(tversky_loss(z, y, {one, 0.3, 0.7, 1.33}), 0.691011139);
  check_is(focal_loss(z, y, {.mode = Mode::multiclass}), 0.689888133);
  check_is(focal_loss(z, some, {.mode = Mode::multiclass, .ignore_index = 255}), 0.641678927);
  check_is(focal_loss(z, labels, {.mode = Mode::multilabel, .alpha = 0.25, .gamma = 1.5}),
           0.469479460);
  check_is(focal_loss(z, labels, {.mode = Mode::multilabel, .reduction = Reduction::sum}),
           33.595304070);
  check_is(focal_loss(z, labels, {.mode = Mode::multilabel, .normalized = true}), 0.039883408);
  check_is(focal_loss(z, labels, {.mode = Mode::multilabel, .reduced_threshold = 0.5}),
           0.997579050);
  check_is(soft_ce_loss(z, y), 2.306942722);
  check_is(soft_ce_loss(z, y, {.smooth_factor = 0.1}), 2.294176764);
  check_is(soft_ce_loss(z, some, {.smooth_factor = 0.1, .ignore_index = 255}), 1.634462360);
  check_is(soft_ce_loss(z, y, {.smooth_factor = 0.1, .reduction = Reduction::sum}), 36.706828226);
  const Tensor gaps = from_torch(kClasses, [](int64_t i) {
    return i % 5 == 0 ? -100.0 : i % 4 == 0 ? 1.0 : 0.0;
  });
  check_is(soft_bce_loss(z, gaps), 0.835484423);
  check_is(soft_bce_loss(z, labels,
                         {.smooth_factor = 0.1, .reduction = Reduction::sum, .pos_weight = 2}),
           66.369027255);
}

TEST_CASE("a class that is absent from the batch teaches nothing under smp's convention") {
  const Tensor none = Tensor::zeros({2, 4, 4, 1}, DType::f64);
  const auto gradient = [&](Convention convention) {
    Variable z = Variable::leaf(ramp(kBinary).value().clone());
    backward(soft_dice_loss(z, none, {}, convention));
    double sum = 0;
    for (const double g : z.grad().values<double>()) sum += std::abs(g);
    return sum;
  };
  CHECK(soft_dice_loss(ramp(kBinary), none).value().item() == 0);
  CHECK(gradient(Convention::smp) == 0);
  CHECK(gradient(Convention::monai) > 0);
  CHECK(gradient(Convention::nnunet) > 0);
}

// From the formulas, by hand: p = 1/2 everywhere; four pixels, two of them lesion in image 0, none
// in image 1.
TEST_CASE("conventions of Dice: per image or pooled, with which intersection") {
  const Variable z(Tensor::zeros({2, 2, 2, 1}, DType::f64));
  const Tensor y = Tensor::of<double>({2, 2, 2, 1}, {1, 1, 0, 0, 0, 0, 0, 0});
  const double s = 1e-5;
  // sum p = 2 per image, I = 1 in image 0.
  const double first = (2 + s) / (4 + s);
  const double second = s / (2 + s);
  check_is(soft_dice_loss(z, y, {}, Convention::monai), 1 - (first + second) / 2);
  const Variable pooled = soft_dice_loss(z, y, {}, Convention::nnunet);
  CHECK(pooled.value().item() == doctest::Approx(-(2 + s) / (6 + s)).epsilon(1e-9));
  // Two regions that both are y, and no background among them: all count, and the mean is the same.
  const Tensor both =
      Tensor::of<double>({2, 2, 2, 2}, {1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  Tensor other = both.clone();
  for (int64_t i = 1; i < other.size(); i += 2) other.mutable_data<double>()[i] = 0;
  const Variable two(Tensor::zeros({2, 2, 2, 2}, DType::f64));
  const RegionOptions regions{.mode = Mode::multilabel};
  const double whole = (2 + s) / (6 + s);
  check_is(soft_dice_loss(two, both, regions, Convention::nnunet), -whole);
  check_is(soft_dice_loss(two, other, regions, Convention::nnunet), -(whole + s / (4 + s)) / 2);
  // sum p + sum t - sum |p - t| = 4 + 2 - 4 = 2, so I = 1 of (4 + 2) / 2.
  check_is(soft_dice_loss(z, y), 1 - 1.0 / 3);
}

TEST_CASE("every loss passes the gradient checker's rows") {
  std::set<std::string> losses;
  for (const RowReport& report : run_rows("nn.")) {
    CAPTURE(report.op);
    CAPTURE(report.variant);
    CAPTURE(report.message);
    CHECK(report.passed);
    losses.insert(report.op);
  }
  CHECK(losses == std::set<std::string>{"nn.focal_loss", "nn.jaccard_loss", "nn.soft_bce_loss",
                                        "nn.soft_ce_loss", "nn.soft_dice_loss", "nn.tversky_loss"});
}

TEST_CASE("targets that fit no mode are refused") {
  const Variable z = ramp(kBinary);
  const auto refuses = [](const auto& call, const char* message) {
    CHECK_THROWS_WITH_AS(call(), doctest::Contains(message), Error);
  };
  refuses([&] { soft_dice_loss(z, every(kBinary, 3), {.mode = Mode::multiclass}); },
          "soft_dice_loss: expected logits of several classes");
  refuses([&] { jaccard_loss(ramp(kClasses), classes()); }, "of one class in binary mode");
  refuses([&] { focal_loss(z, Tensor::full({2, 4, 4, 1}, 255, DType::f64)); },
          "focal_loss: expected targets of 0 .. 1, got 255");
  refuses([&] { soft_ce_loss(ramp(kClasses), classes(true)); },
          "soft_ce_loss: expected targets of 0 .. 2, got 255");
  refuses([&] { soft_bce_loss(z, every({2, 1, 4, 3}, 3)); }, "expected targets [2, 4, 4, 1]");
  refuses([&] { tversky_loss(z, every(kBinary, 3), {{.smooth = -1}}); }, "finite smooth");
}

}  // namespace
}  // namespace decant::nn
