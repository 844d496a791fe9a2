#include <cmath>

#include "engine/check/op_row.h"
#include "engine/ops/batch_norm.h"

namespace decant {
namespace {

struct Case {
  const char* variant;
  Shape x;
  BatchNormOptions options;
  bool residual = false;
  double mean = 0, deviation = 1;  // of x
};

// Seeds such that no z = bn(x) + residual of a small row lies within a difference of a kink.
const std::vector<Case>& cases() {
  using enum Activation;
  static const std::vector<Case> table = {
      {"training", {2, 3, 3, 4}, {.training = true}},
      {"training, five values per channel", {5, 3}, {.training = true}},
      {"training, one channel", {2, 3, 4, 1}, {.training = true}},
      {"training, relu", {2, 3, 3, 3}, {.training = true, .activation = relu}},
      {"training, relu6", {2, 3, 3, 3}, {.training = true, .activation = relu6}},
      {"training, hard_swish", {2, 3, 3, 3}, {.training = true, .activation = hard_swish}},
      {"training, residual", {2, 3, 3, 3}, {.training = true}, true},
      {"training, relu, residual", {2, 3, 3, 3}, {.training = true, .activation = relu}, true},
      {"training, hard_swish, residual",
       {2, 3, 3, 3},
       {.training = true, .activation = hard_swish},
       true},
      {"training, silu", {2, 3, 3, 3}, {.training = true, .activation = silu}},
      {"training, silu, residual", {2, 3, 3, 3}, {.training = true, .activation = silu}, true},
      {"running moments, silu", {2, 3, 3, 3}, {.activation = silu}},
      {"running moments", {2, 3, 3, 3}, {}},
      {"running moments, relu, residual", {2, 3, 3, 3}, {.activation = relu}, true},
      {"running moments, hard_swish", {1, 1, 1, 5}, {.activation = hard_swish}},
      {"real: training, 64 channels", {2, 24, 25, 64}, {.training = true}},
      {"real: training, hard_swish, residual, 8 channels",
       {3, 20, 21, 8},
       {.training = true, .activation = hard_swish},
       true},
      {"real: training, channels of one value",
       {4, 24, 25, 21},
       {.training = true, .eps = 0.1},
       false,
       1000.1,
       0},
      {"real: training, mean far from zero", {4, 24, 25, 9}, {.training = true}, false, 1e3, 0.1},
      {"real: running moments, 132 channels", {2, 9, 9, 132}, {}},
      {"real: training, 83 channels, residual", {2, 9, 11, 83}, {.training = true}, true},
      {"real: training, hard_swish, 19 channels",
       {2, 30, 31, 19},
       {.training = true, .activation = hard_swish},
       true},
      {"real: training, silu, 43 channels",
       {2, 20, 21, 43},
       {.training = true, .activation = silu}},
      {"real: training, silu, residual, 9 channels",
       {2, 20, 21, 9},
       {.training = true, .activation = silu},
       true},
  };
  return table;
}

Tensor normal(const Case& c) {
  Tensor x = randn(c.x, 1);
  if (c.deviation != 1)
    for (double& v : x.mutable_values<double>()) v = c.mean + c.deviation * v;
  return x;
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  for (const Case& c : cases()) {
    const Shape channels = {c.x[-1]};
    std::vector<Tensor> inputs = {normal(c), uniform(channels, 0.5, 1.5, 2),
                                  uniform(channels, -1, 1, 3)};
    if (c.residual) inputs.push_back(randn(c.x, 4));
    // Two sums in turn, moments and gradients, and some pointwise steps.
    const auto products = static_cast<double>(2 * c.x.size() / c.x[-1] + 8);
    // One rounding besides, of a mean that may be large beside what it is subtracted from.
    const double rounding = c.deviation > 0 ? std::abs(c.mean) / c.deviation : 0;
    table.push_back(
        {.op = "batch_norm",
         .variant = c.variant,
         .inputs = inputs,
         .call =
             [o = c.options, channels](const std::vector<Variable>& x) {
               const Device device = x[0].value().device();
               Tensor mean = uniform(channels, -0.5, 0.5, 5).to(x[1].dtype()).to(device);
               Tensor var = uniform(channels, 0.5, 1.5, 6).to(x[1].dtype()).to(device);
               return batch_norm(x[0], x[1], x[2], mean, var, o, x.size() > 3 ? x[3] : Variable{});
             },
         .products = products,
         .kappa = 1 + rounding / (std::sqrt(products) + 4),
         .large = c.x.size() > 500});
  }
  return table;
}

struct Call {
  Shape x = {2, 3};
  Shape channels = {3};
  Shape running = {3};
  BatchNormOptions options = {};
  Shape residual = {};
  DType dtype = DType::f32;
};

std::function<void()> call(const Call& c) {
  return [c] {
    Tensor mean = Tensor::zeros(c.running);
    Tensor var = Tensor::full(c.running, 1);
    const Variable residual =
        c.residual.rank() > 0 ? Variable(Tensor::zeros(c.residual)) : Variable{};
    batch_norm(Variable(Tensor::zeros(c.x, c.dtype)), Variable(Tensor::zeros(c.channels)),
               Variable(Tensor::zeros(c.channels)), mean, var, c.options, residual);
  };
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "batch_norm",
       .what = "scale of another size",
       .call = call({.channels = {4}}),
       .message = "batch_norm: expected scale [3] for x [2, 3], got [4]"},
      {.op = "batch_norm",
       .what = "running moments of another size",
       .call = call({.running = {4}}),
       .message = "batch_norm: expected running_mean [3] for x [2, 3], got [4]"},
      {.op = "batch_norm",
       .what = "residual of another shape",
       .call = call({.residual = {2, 4}}),
       .message = "as x [2, 3] float32, got [2, 4] float32"},
      {.op = "batch_norm",
       .what = "training on one value per channel",
       .call = call({.x = {1, 3}, .options = {.training = true}}),
       .message = "more than one value per channel, got x [1, 3]"},
      {.op = "batch_norm",
       .what = "eps 0",
       .call = call({.options = {.eps = 0}}),
       .message = "batch_norm: expected a finite eps > 0, got 0"},
      {.op = "batch_norm",
       .what = "an infinite eps",
       .call = call({.options = {.eps = INFINITY}}),
       .message = "batch_norm: expected a finite eps > 0, got inf"},
      {.op = "batch_norm",
       .what = "momentum that is NaN",
       .call = call({.options = {.momentum = NAN}}),
       .message = "batch_norm: expected a momentum in [0, 1], got nan"},
      {.op = "batch_norm",
       .what = "momentum above 1",
       .call = call({.options = {.momentum = 1.5}}),
       .message = "batch_norm: expected a momentum in [0, 1], got 1.5"},
      {.op = "batch_norm",
       .what = "two types",
       .call = call({.dtype = DType::f64}),
       .message = "expected scale of type float64, got float32"},
  };
}

const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
