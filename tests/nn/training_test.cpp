#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"
#include "nn/losses.h"
#include "nn/network.h"
#include "nn/optimizer.h"
#include "nn/parameter_set.h"
#include "nn/schedule.h"

namespace decant::nn {
namespace {

/// Two parameters of awkward sizes, all ones.
class Pair : public Module {
 public:
  void visit(Visitor& v) override {
    v("first.weight", first);
    v("second.weight", second);
  }
  Parameter first{.shape = {3}, .initializer = Initializer::constant(1)};
  Parameter second{.shape = {17}, .initializer = Initializer::constant(1)};
};

/// factor / 2 * sum of squares of all values, whose gradient is factor * value.
Variable quadratic(Pair& pair, double factor) {
  return scale(add(sum(square(pair.first.variable)), sum(square(pair.second.variable))),
               factor / 2);
}

void step_on(Pair& pair, ParameterSet& parameters, Optimizer& optimizer, double factor, double lr) {
  parameters.zero_gradients();
  backward(quadratic(pair, factor));
  optimizer.step(lr);
}

TEST_CASE("optimizers move as PyTorch's do") {
  // Printed by PyTorch 1.13: w = 1, loss = (i + 1) w^2 / 2 for i = 0, 1, 2, lr 0.1, decay 0.01.
  struct Row {
    const char* name;
    double golden[3];
  };
  const Row rows[] = {{"sgd", {0.80809999, 0.41767660, -0.02638841}},
                      {"adam", {0.89999998, 0.80236745, 0.70474797}},
                      {"adamw", {0.89900005, 0.80050504, 0.70211405}}};
  for (const Row& row : rows) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      CAPTURE(row.name);
      CAPTURE(dtype);
      Pair pair;
      initialize(pair, 0, dtype);
      ParameterSet parameters(pair);
      const auto optimizer = make_optimizer(parameters, {.name = row.name, .weight_decay = 0.01});
      for (int i = 0; i < 3; ++i) {
        step_on(pair, parameters, *optimizer, i + 1, 0.1);
        const Tensor w = pair.second.variable.value().to(DType::f64);
        for (const double value : w.values<double>())
          CHECK(std::abs(value - row.golden[i]) <= 1.5e-7);  // PyTorch printed float32
      }
    }
  }
  Pair pair;
  initialize(pair, 0);
  ParameterSet parameters(pair);
  CHECK_THROWS_WITH_AS(make_optimizer(parameters, {.name = "adan"}),
                       doctest::Contains("did you mean \"adam\"?"), Error);
}

TEST_CASE("an optimizer goes on with the same bits from its saved state") {
  for (const std::string& name : optimizer_names()) {
    CAPTURE(name);
    Pair one;
    Pair two;
    initialize(one, 0);
    initialize(two, 0);
    ParameterSet first(one);
    ParameterSet second(two);
    const auto whole = make_optimizer(first, {.name = name, .weight_decay = 0.1});
    for (int i = 0; i < 3; ++i) step_on(one, first, *whole, i + 1, 0.1);
    const auto resumed = make_optimizer(second, {.name = name, .weight_decay = 0.1});
    resumed->load_state(whole->state());
    second.values().copy_from(first.values());
    step_on(one, first, *whole, 4, 0.1);
    step_on(two, second, *resumed, 4, 0.1);
    CHECK(std::ranges::equal(first.values().values<float>(), second.values().values<float>()));

    auto state = whole->state();
    state.back().tensor = Tensor::zeros({1});
    CHECK_THROWS_WITH_AS(resumed->load_state(state), doctest::Contains("got float32 [1]"), Error);
    state.pop_back();
    CHECK_THROWS_WITH_AS(resumed->load_state(state), doctest::Contains("lacks"), Error);
  }
}

TEST_CASE("a parameter set moves its modules' values and gradients into one buffer") {
  Pair pair;
  initialize(pair, 0);
  ParameterSet parameters({{"", &pair}});
  REQUIRE(parameters.slots().size() == 2);
  CHECK(parameters.slots()[0].name == "first.weight");
  CHECK(parameters.slots()[1].offset == 16);  // 64 bytes
  CHECK(parameters.trainable_count() == 20);
  CHECK(parameters.reached().empty());
  CHECK(parameters.range("second") == ParameterSet::Range{16, 17});
  CHECK_THROWS_AS(parameters.range("secon"), Error);
  CHECK(pair.first.variable.value().shares_storage(parameters.values()));

  backward(quadratic(pair, 3));
  backward(quadratic(pair, 4));
  CHECK(parameters.reached() == std::vector<ParameterSet::Range>{{0, 33}});
  const Tensor& gradients = parameters.gradients();
  CHECK(gradients.data<float>()[0] == 7);
  CHECK(gradients.data<float>()[3] == 0);  // the gap
  CHECK(gradients.data<float>()[32] == 7);
  CHECK(clip_gradients(parameters, 0).item() == doctest::Approx(7 * std::sqrt(20.0)));
  CHECK(clip_gradients(parameters, 14).item() == doctest::Approx(7 * std::sqrt(20.0)));
  CHECK(clip_gradients(parameters, 0).item() == doctest::Approx(14));
  CHECK(clip_gradients(parameters, 15).item() == doctest::Approx(14));
  CHECK(clip_gradients(parameters, 0).item() == doctest::Approx(14));
  parameters.zero_gradients();
  CHECK(clip_gradients(parameters, 0).item() == 0);
  CHECK(clip_gradients(parameters, 0).dtype() == DType::f64);  // as with gradients

  Pair other;
  initialize(other, 0);
  Pair regressor;
  initialize(regressor, 0);
  ParameterSet both({{"", &other}, {"regressor", &regressor}});
  CHECK(both.slots()[2].name == "regressor.first.weight");
  CHECK(both.range("regressor") == ParameterSet::Range{48, 33});
}

TEST_CASE("a parameter set refuses what stands in it twice") {
  Pair pair;
  initialize(pair, 0);
  Pair other;
  initialize(other, 0);
  // Its values would move to the second buffer, and the optimizer would step on both.
  CHECK_THROWS_WITH_AS(ParameterSet({{"a", &pair}, {"b", &pair}}),
                       "ParameterSet: expected every parameter once, got a.first.weight again as "
                       "b.first.weight",
                       Error);
  CHECK_THROWS_WITH_AS(ParameterSet({{"a", &pair}, {"a", &other}}),
                       "ParameterSet: expected unique names, got a.first.weight twice", Error);
  CHECK(pair.first.variable.value().data<float>()[0] == 1);
  CHECK(ParameterSet({{"a", &pair}, {"b", &other}}).slots().size() == 4);
}

TEST_CASE("frozen parameters keep their values, and the others move as without them") {
  for (const std::string& name : optimizer_names()) {
    CAPTURE(name);
    Pair free;
    Pair half;
    initialize(free, 0);
    initialize(half, 0);
    ParameterSet all(free);
    ParameterSet some(half);
    some.freeze("first");
    CHECK_THROWS_AS(some.freeze("third"), Error);
    CHECK(some.trainable_count() == 17);
    const auto a = make_optimizer(all, {.name = name, .weight_decay = 0.1});
    const auto b = make_optimizer(some, {.name = name, .weight_decay = 0.1});
    for (int i = 0; i < 2; ++i) {
      step_on(free, all, *a, 1, 0.1);
      step_on(half, some, *b, 1, 0.1);
    }
    CHECK(some.reached() == std::vector<ParameterSet::Range>{{16, 17}});
    for (const float value : half.first.variable.value().values<float>()) CHECK(value == 1);
    CHECK(std::ranges::equal(half.second.variable.value().values<float>(),
                             free.second.variable.value().values<float>()));
    CHECK(free.first.variable.value().data<float>()[0] < 1);
  }
}

TEST_CASE("what no gradient has arrived at neither decays nor moves, as in PyTorch") {
  for (const std::string& name : optimizer_names()) {
    CAPTURE(name);
    Pair pair;
    initialize(pair, 0);
    ParameterSet parameters(pair);
    const auto optimizer = make_optimizer(parameters, {.name = name, .weight_decay = 0.1});
    optimizer->step(0.1);  // before any backward pass
    CHECK(pair.second.variable.value().data<float>()[0] == 1);
    step_on(pair, parameters, *optimizer, 1, 0.1);  // now every moment is above 0
    const float before = pair.first.variable.value().data<float>()[0];
    CHECK(before < 1);
    parameters.zero_gradients();
    backward(sum(square(pair.second.variable)));
    CHECK(parameters.reached() == std::vector<ParameterSet::Range>{{16, 17}});
    optimizer->step(0.1);
    for (const float value : pair.first.variable.value().values<float>()) CHECK(value == before);
    CHECK(pair.second.variable.value().data<float>()[0] < before);
  }
}

TEST_CASE("stages that do not run, and a convolution that none reads, keep their values") {
  // Depth 3 of 5; an EfficientNet's convolution of its classifier, before which there is a stage
  // that runs and behind which the decoder does.
  const std::pair<const char*, const char*> rows[] = {
      {"pspnet/mobilenet_v2", "encoder.features.18"},
      {"linknet/efficientnet-b0", "encoder._conv_head"}};
  for (const auto& [name, unread] : rows) {
    CAPTURE(name);
    const auto network = make_network(parse_network(name), 1);
    ParameterSet parameters(*network);
    const auto optimizer = make_optimizer(parameters, {.name = "adamw", .weight_decay = 0.1});
    const Tensor before = parameters.values().clone();
    const Output y =
        network->forward(Variable(Tensor::full({2, 32, 32, 3}, 1)), {.training = true});
    backward(supervised_loss(y.logits, {.labels = Tensor::zeros({2, 32, 32, 1})}));
    optimizer->step(0.1);
    const ParameterSet::Range range = parameters.range(unread);
    for (const ParameterSet::Slot& slot : parameters.slots()) {
      if (slot.parameter->shape.rank() != 4) continue;  // others are 0 at first, and may stay so
      CAPTURE(slot.name);
      const float* const was = before.data<float>() + slot.offset;
      const float* const is = parameters.values().data<float>() + slot.offset;
      const bool stayed = std::equal(was, was + slot.size, is);
      CHECK(stayed == !slot.parameter->variable.grad().defined());
      if (slot.offset >= range.offset && slot.offset < range.offset + range.size) CHECK(stayed);
      if (slot.name == "segmentation_head.0.weight") CHECK_FALSE(stayed);
    }
  }
}

TEST_CASE("schedules follow their formulas") {
  const auto rate = [](const ScheduleOptions& options, int64_t step) {
    return learning_rate(options, 2, step, 110);
  };
  const ScheduleOptions constant{.name = "constant", .warmup_steps = 10};
  CHECK(rate(constant, 0) == doctest::Approx(0.2));
  CHECK(rate(constant, 9) == doctest::Approx(2));
  CHECK(rate(constant, 500) == 2);
  const ScheduleOptions poly{.name = "poly", .warmup_steps = 10};
  CHECK(rate(poly, 10) == 2);
  CHECK(rate(poly, 60) == doctest::Approx(2 * std::pow(0.5, 0.9)));
  CHECK(rate(poly, 110) == 0);
  CHECK(rate(poly, 111) == 0);
  const ScheduleOptions cosine{.name = "cosine", .warmup_steps = 10, .final_fraction = 0.1};
  CHECK(rate(cosine, 10) == 2);
  CHECK(rate(cosine, 60) == doctest::Approx(1.1));
  CHECK(rate(cosine, 110) == doctest::Approx(0.2));
  const ScheduleOptions step{.name = "step", .step_every = 40};
  CHECK(rate(step, 39) == 2);
  CHECK(rate(step, 40) == doctest::Approx(0.2));
  CHECK(rate(step, 80) == doctest::Approx(0.02));
  CHECK_THROWS_WITH_AS(rate({.name = "cosin"}, 0), doctest::Contains("\"cosine\"?"), Error);
}

TEST_CASE("a schedule that makes no sense is refused at the first step") {
  struct Row {
    ScheduleOptions options;
    const char* message;
  };
  const Row rows[] = {
      {{.name = "cosin", .warmup_steps = 10}, "did you mean \"cosine\"?"},
      {{.step_every = 0}, "expected step_every of at least 1, got 0"},
      {{.warmup_steps = -1}, "expected warmup_steps of at least 0, got -1"},
      {{.name = "step", .warmup_steps = 10, .gamma = 0}, "expected a finite gamma above 0, got 0"},
      {{.name = "step", .gamma = NAN}, "expected a finite gamma above 0, got nan"},
      {{.warmup_steps = 10, .power = -1}, "expected a finite power of at least 0, got -1"},
      {{.power = INFINITY}, "expected a finite power of at least 0, got inf"},
      {{.warmup_steps = 10, .final_fraction = 1.5}, "expected final_fraction in [0, 1], got 1.5"},
      {{.final_fraction = NAN}, "expected final_fraction in [0, 1], got nan"},
      {{.warmup_steps = 110}, "expected warm-up of fewer than all 110 steps, got 110"},
  };
  for (const Row& row : rows) {
    const std::string message = row.message;
    CAPTURE(message);
    CHECK_THROWS_WITH_AS(learning_rate(row.options, 2, 0, 110), doctest::Contains(row.message),
                         Error);
  }
  CHECK_THROWS_WITH_AS(learning_rate({}, NAN, 0, 110),
                       "schedule: expected a finite base rate of at least 0, got nan", Error);
  CHECK_THROWS_WITH_AS(learning_rate({}, 1, -1, 110),
                       "schedule: expected a step of at least 0, got -1", Error);
}

/// linspace(-3, 3, 32) as two 4 x 4 images of one logit.
Tensor golden_logits() {
  Tensor x({2, 4, 4, 1}, DType::f64);
  auto* out = x.mutable_data<double>();
  for (int i = 0; i < 32; ++i) out[i] = -3 + 6.0 * i / 31;
  return x;
}

Tensor golden_labels() {
  Tensor y({2, 4, 4, 1}, DType::f64);
  auto* out = y.mutable_data<double>();
  for (int i = 0; i < 32; ++i) out[i] = i % 3 == 0 ? 1 : 0;
  return y;
}

double loss_of(const Tensor& x, const Target& target, const LossOptions& options) {
  return supervised_loss(Variable(x), target, options).value().item();
}

TEST_CASE("binary losses have SMP's values") {
  // Printed by SMP 0.5.1 in float32, seven decimals.
  const Tensor x = golden_logits();
  const Target target{.labels = golden_labels()};
  CHECK(std::abs(loss_of(x, target, {.name = "ce"}) - 1.0583853) <= 1e-6);
  CHECK(std::abs(loss_of(x, target, {.name = "dice"}) - 0.6039759) <= 1e-6);
  CHECK(std::abs(loss_of(x, target, {}) - 1.0583853 - 0.6039759) <= 1e-6);
  CHECK(std::abs(loss_of(x, target, {.name = "jaccard"}) - 0.7530985) <= 1e-6);
  CHECK(std::abs(loss_of(x, target, {.name = "focal"}) - 0.6947032) <= 1e-6);
  CHECK(std::abs(loss_of(x, target, {.name = "soft_bce"}) - 1.0583853) <= 1e-6);
  CHECK(std::abs(loss_of(x, target, {.name = "tversky"}) - 0.6039759) <= 1e-6);  // of 1/2: Dice
  CHECK(std::abs(loss_of(x, target, {.name = "focal+ce+jaccard"}) - 0.6947032 - 1.0583853 -
                 0.7530985) <= 2e-6);
  for (const char* wrong : {"", "focal+", "+", "focal+jacard", "ce dice"})
    CHECK_THROWS_WITH_AS(loss_terms(wrong), doctest::Contains("loss: expected one of ce, dice"),
                         Error);
  CHECK_THROWS_WITH_AS(loss_terms("focal+jacard"), doctest::Contains("\"jaccard\"?"), Error);
  CHECK_THROWS_WITH_AS(loss_of(x, target, {.name = "ce+soft_ce"}),
                       doctest::Contains("several classes for soft_ce"), Error);
  CHECK_THROWS_WITH_AS(loss_terms("focal+"), doctest::Contains("got an empty name"), Error);
  CHECK_NOTHROW(check_loss("ce_dice+soft_bce", 1));
  CHECK_NOTHROW(check_loss("tversky+soft_ce", 2));
  CHECK_THROWS_WITH_AS(check_loss("ce+soft_bce", 2), doctest::Contains("one class for soft_bce"),
                       Error);
  CHECK(stays_on_device({.name = "ce_dice"}));
  CHECK_FALSE(stays_on_device({.name = "ce+focal"}));
  CHECK_THROWS_WITH_AS(loss_of(x, target, {.name = "dicee"}), doctest::Contains("\"dice\"?"),
                       Error);

  Tensor flipped({2, 4, 4, 1}, DType::f64);  // the two images exchanged, as torch's flip(0)
  flipped.view(0, {16}).copy_from(x.view(16, {16}));
  flipped.view(16, {16}).copy_from(x.view(0, {16}));
  const Tensor soft = sigmoid(Variable(flipped)).value();
  CHECK(std::abs(loss_of(x, {.labels = soft}, {.name = "dice"}) - 0.5811008) <= 1e-6);
  const Tensor same = sigmoid(Variable(x)).value();
  CHECK(std::abs(loss_of(x, {.labels = same}, {.name = "dice"})) <= 1e-15);
}

TEST_CASE("dice without a lesion in the batch: nothing in SMP's form, a cost when smoothed") {
  const Variable x = Variable::leaf(golden_logits());
  const Target empty{.labels = Tensor::zeros({2, 4, 4})};
  const Variable plain = dice_loss(x, empty);
  CHECK(plain.value().item() == 0);
  backward(plain);
  for (const double g : x.grad().values<double>()) CHECK(g == 0);

  const Variable z = Variable::leaf(golden_logits());
  const Variable smoothed = dice_loss(z, empty, 1);
  // sum of sigmoid over a grid symmetric about 0 is half its size: 1 - 1 / (16 / 2 + 1)
  CHECK(smoothed.value().item() == doctest::Approx(1 - 1.0 / 9));
  backward(smoothed);
  for (const double g : z.grad().values<double>()) CHECK(g > 0);
}

TEST_CASE("categorical losses by hand") {
  const Tensor x = Tensor::zeros({1, 1, 2, 2}, DType::f64);
  const Target target{.labels = Tensor::of<int64_t>({1, 1, 2}, {0, 0})};
  CHECK(loss_of(x, target, {.name = "ce"}) == doctest::Approx(std::numbers::ln2));
  // Class 0: p = 1/2 twice, t = 1 twice, I = (1 + 2 - 1) / 2 = 1 of (1 + 2) / 2; class 1 is absent.
  CHECK(loss_of(x, target, {.name = "dice"}) == doctest::Approx((1 - 1 / 1.5) / 2));
  CHECK(loss_of(x, target, {.name = "soft_ce"}) == doctest::Approx(std::numbers::ln2));
  CHECK(loss_of(x, target, {.name = "jaccard"}) == doctest::Approx((1 - 1 / 2.0) / 2));
  CHECK_THROWS_WITH_AS(loss_of(x, target, {.name = "soft_bce"}),
                       doctest::Contains("one class for soft_bce"), Error);
  CHECK_THROWS_AS(loss_of(x, {.labels = Tensor::of<int64_t>({1, 1, 2}, {0, 2})}, {}), Error);
  CHECK_THROWS_WITH_AS(
      loss_of(x, {.labels = Tensor::of<int64_t>({1, 1, 2}, {0, 2})}, {.name = "dice"}),
      "dice_loss: expected labels from 0 to 1, got 2", Error);
  CHECK_THROWS_WITH_AS(loss_of(x, {.labels = Tensor::zeros({1, 2, 1})}, {}),
                       "supervised_loss: expected labels [1, 1, 2] or [1, 1, 2, 1] for logits "
                       "[1, 1, 2, 2], got [1, 2, 1]",
                       Error);
  CHECK_THROWS_WITH_AS(
      loss_of(golden_logits(), {.labels = Tensor::full({2, 4, 4}, 255)}, {.name = "dice"}),
      "dice_loss: expected targets in [0, 1], got 255", Error);
}

TEST_CASE("images without a mask count for nothing") {
  const Tensor x = golden_logits();
  const Tensor y = golden_labels();
  const Target first{.labels = y.view(0, {1, 4, 4, 1})};
  for (const std::string name :
       {"ce", "dice", "ce_dice", "jaccard", "tversky", "focal", "soft_bce", "focal+dice"}) {
    CAPTURE(name);
    const Variable z = Variable::leaf(x);
    const Variable loss =
        supervised_loss(z, {.labels = y, .has_mask = {true, false}}, {.name = name});
    CHECK(loss.value().item() ==
          doctest::Approx(loss_of(x.view(0, {1, 4, 4, 1}), first, {.name = name})).epsilon(1e-12));
    backward(loss);
    CHECK(z.grad().data<double>()[3] != 0);
    for (int i = 16; i < 32; ++i) CHECK(z.grad().data<double>()[i] == 0);
    CHECK(loss_of(x, {.labels = y, .has_mask = {false, false}}, {.name = name}) == 0);
  }
  // Whatever stands where no mask is, and whatever the network says there, is not looked at.
  Tensor junk = y.clone();
  Tensor wild = x.clone();
  for (int i = 16; i < 32; ++i) {
    junk.mutable_data<double>()[i] = i % 2 ? 255 : NAN;
    wild.mutable_data<double>()[i] = i % 2 ? INFINITY : NAN;
  }
  Tensor classes = Tensor::zeros({2, 1, 2, 2}, DType::f64);
  const Target two{.labels = Tensor::of<int64_t>({2, 1, 2}, {0, 0, 255, -1}),
                   .has_mask = {true, false}};
  const double expected[] = {std::numbers::ln2, (1 - 1 / 1.5) / 2,
                             std::numbers::ln2 + (1 - 1 / 1.5) / 2};  // see above, by hand
  const char* names[] = {"ce", "dice", "ce_dice"};
  for (size_t i = 0; i < std::size(names); ++i) {
    const LossOptions options{.name = names[i]};
    CAPTURE(options.name);
    const Variable z = Variable::leaf(wild);
    const Variable loss = supervised_loss(z, {.labels = junk, .has_mask = {true, false}}, options);
    CHECK(loss.value().item() ==
          doctest::Approx(loss_of(x.view(0, {1, 4, 4, 1}), first, options)).epsilon(1e-12));
    backward(loss);
    for (int n = 16; n < 32; ++n) CHECK(z.grad().data<double>()[n] == 0);
    CHECK(loss_of(classes, two, options) == doctest::Approx(expected[i]));
  }
  CHECK_THROWS_AS(loss_of(x, {.labels = y, .has_mask = {true}}, {}), Error);
}

TEST_CASE("a thin U-Net learns a square by heart") {
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2"), 1);
  ParameterSet parameters(*network);
  const auto optimizer = make_optimizer(parameters, {});
  Tensor image = Tensor::zeros({2, 16, 16, 3});
  Tensor mask = Tensor::zeros({2, 16, 16, 1});
  for (int n = 0; n < 2; ++n) {
    for (int i = 4; i < 10; ++i) {
      for (int j = 2 + 4 * n; j < 8 + 4 * n; ++j) {
        mask.mutable_data<float>()[(n * 16 + i) * 16 + j] = 1;
        for (int c = 0; c < 3; ++c)
          image.mutable_data<float>()[((n * 16 + i) * 16 + j) * 3 + c] = 1;
      }
    }
  }
  double first = 0;
  double last = 0;
  for (int step = 0; step < 30; ++step) {
    parameters.zero_gradients();
    const Output y = network->forward(Variable(image), {.training = true});
    const Variable loss = supervised_loss(y.logits, {.labels = mask});
    last = loss.value().item();
    if (step == 0) first = last;
    backward(loss);
    clip_gradients(parameters, 1);
    optimizer->step(0.02);
  }
  CHECK(last < first / 2);
}

}  // namespace
}  // namespace decant::nn
