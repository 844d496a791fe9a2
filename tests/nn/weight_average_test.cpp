#include "nn/weight_average.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/check/op_row.h"
#include "nn/checkpoint.h"

namespace decant::nn {
namespace {

/// Weights and running moments of a network, all at one number.
struct Level {
  explicit Level(double first) : network(make_network(parse_network(kSmall), 1, DType::f64)) {
    set(first);
  }

  void set(double value) {
    struct Filling : Visitor {
      void on_parameter(const std::string& /*path*/, Parameter& p) override {
        Tensor values = p.variable.value();
        values.fill(level);
      }
      void on_buffer(const std::string& /*path*/, Buffer& b) override { b.tensor.fill(level); }
      double level = 0;
    } fill;
    fill.level = value;
    network->visit(fill);
  }

  static constexpr const char* kSmall = "thin_unet:width=4,depth=2";
  std::unique_ptr<Network> network;
};

// 1, then 2, 4, 8 after three steps: 0.1 and 2 / 11 stay by the ramp, then 0.2.
constexpr double kSteps[] = {2, 4, 8};
constexpr double kMean = 0.2 * (2.0 / 11 * (0.1 * 1 + 0.9 * 2) + 9.0 / 11 * 4) + 0.8 * 8;

TEST_CASE("a mean of weights follows its formula, and so do batch norm's moments") {
  Level level(1);
  ParameterSet parameters(*level.network);
  WeightAverage average(*level.network, parameters, 0.2);
  for (int step = 0; step < 3; ++step) {
    level.set(kSteps[step]);
    average.begin_step(step);
    average.apply();
  }
  int counters = 0;
  for (const NamedTensor& entry : state_dict(average.network(), DType::f64)) {
    CAPTURE(entry.name);
    if (entry.tensor.dtype() == DType::i64) {
      CHECK(*entry.tensor.data<int64_t>() == 8);
      ++counters;
      continue;
    }
    for (const double value : entry.tensor.values<double>())
      CHECK(std::abs(value - kMean) < 1e-14 * kMean);
  }
  CHECK(counters > 0);
  for (const NamedTensor& entry : state_dict(*level.network, DType::f64))
    if (entry.tensor.dtype() == DType::f64) CHECK(entry.tensor.data<double>()[0] == 8);
}

TEST_CASE("a mean goes on from its state, and answers as a network with its weights") {
  const auto network = make_network(parse_network(Level::kSmall), 1, DType::f64);
  ParameterSet parameters(*network);
  WeightAverage average(*network, parameters, 0.9);
  const Variable images(randn({2, 16, 16, 3}, 4));
  network->forward(images, {.training = true});  // moves the moments
  parameters.values().fill(0.01);
  average.begin_step(0);
  average.apply();
  const Variable answer = average.network().forward(images).logits;

  const auto same = make_network(parse_network(Level::kSmall), 2, DType::f64);
  load_state_dict(*same, state_dict(average.network(), DType::f64), "test");
  CHECK(std::ranges::equal(same->forward(images).logits.value().values<double>(),
                           answer.value().values<double>()));

  const auto other = make_network(parse_network(Level::kSmall), 3, DType::f64);
  ParameterSet others(*other);
  WeightAverage resumed(*other, others, 0.9);
  resumed.load_state(average.state());
  CHECK(std::ranges::equal(resumed.network().forward(images).logits.value().values<double>(),
                           answer.value().values<double>()));
  CHECK_THROWS_WITH_AS(resumed.load_state({}), "WeightAverage: the state lacks weights", Error);
}

TEST_CASE("a mean that keeps nothing, or all, is refused") {
  const auto network = make_network(parse_network(Level::kSmall));
  ParameterSet parameters(*network);
  for (const double decay : {0.0, 1.0, std::nan("")})
    CHECK_THROWS_WITH_AS(WeightAverage(*network, parameters, decay),
                         doctest::Contains("expected a decay between 0 and 1"), Error);
}

}  // namespace
}  // namespace decant::nn
