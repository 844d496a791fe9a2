#include "engine/check/op_row.h"
#include "engine/ops/cast.h"
#include "engine/ops/pointwise.h"

namespace decant {
namespace {

using Function = Variable (*)(const Variable&);

struct Case {
  const char* op;
  Function function;
  double low = -4;
  double high = 4;
  std::initializer_list<double> kinks = {};
};

// Of float32 and float64 to itself, of bfloat16 to float32; then there and back, which is a step
// function, to be looked at and not to be differenced.
void add_casts(std::vector<OpRow>& table) {
  for (const int64_t size : {7, 20011}) {
    table.push_back({.op = "cast",
                     .variant = str("to float, ", size),
                     .inputs = {randn({size})},
                     .call =
                         [](const std::vector<Variable>& x) {
                           const bool wide = x[0].dtype() == DType::f64;
                           return cast(x[0], wide ? DType::f64 : DType::f32);
                         },
                     .large = size > 100});
    for (const DType narrow : {DType::f32, DType::bf16})
      table.push_back({.op = "cast",
                       .variant = str("to ", narrow, " and back, ", size),
                       .inputs = {randn({size})},
                       .call =
                           [narrow](const std::vector<Variable>& x) {
                             return cast(cast(x[0], narrow), x[0].dtype());
                           },
                       .constants = {0}});
  }
}

std::vector<OpRow> rows() {
  const Case cases[] = {
      {"relu", relu, -4, 4, {0}},
      {"relu6", relu6, -4, 9, {0, 6}},
      {"sigmoid", sigmoid},
      {"tanh", tanh},
      {"silu", silu},
      {"hard_sigmoid", hard_sigmoid, -5, 5, {-3, 3}},
      {"hard_swish", hard_swish, -5, 5, {-3, 3}},
      {"exp", exp},
      {"log", log, 0.2, 5},
      {"sqrt", sqrt, 0.2, 5},
      {"abs", abs, -4, 4, {0}},
      {"square", square},
      {"softplus", softplus},
  };
  std::vector<OpRow> table;
  for (const Case& c : cases) {
    const auto call = [f = c.function](const std::vector<Variable>& x) { return f(x[0]); };
    const auto add = [&](const char* variant, Shape shape, bool large) {
      table.push_back({.op = c.op,
                       .variant = variant,
                       .inputs = {clear_of(uniform(shape, c.low, c.high), c.kinks)},
                       .call = call,
                       .large = large});
    };
    add("rank 3", {3, 5, 7}, false);
    add("a scalar", {}, false);
    add("several chunks and a rest", {5, 10007}, true);
  }
  // Far out, where a naive exp overflows.
  for (const Case& c : {Case{"sigmoid", sigmoid}, Case{"silu", silu}, Case{"softplus", softplus}})
    table.push_back({.op = c.op,
                     .variant = "large values",
                     .inputs = {uniform({16}, -60, 60)},
                     .call = [f = c.function](const std::vector<Variable>& x) { return f(x[0]); }});

  for (const double slope : {0.01, 0.3})
    table.push_back(
        {.op = "leaky_relu",
         .variant = str("slope ", slope),
         .inputs = {clear_of(uniform({4, 9}, -3, 3), {0})},
         .call = [slope](const std::vector<Variable>& x) { return leaky_relu(x[0], slope); }});
  table.push_back({.op = "leaky_relu",
                   .variant = "several chunks and a rest",
                   .inputs = {clear_of(uniform({5, 10007}, -3, 3), {0})},
                   .call = [](const std::vector<Variable>& x) { return leaky_relu(x[0], 0.1); },
                   .large = true});
  add_casts(table);
  return table;
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "cast",
       .what = "whole numbers to cast to",
       .call = [] { cast(Variable(Tensor::zeros({3})), DType::i64); },
       .message = "cast: expected float32, float64 or bfloat16 to cast to, got int64"},
      {.op = "relu",
       .what = "whole numbers",
       .call = [] { relu(Variable(Tensor::zeros({2}, DType::i32))); },
       .message = "relu: expected float32 or float64 values, on cuda perhaps bfloat16, got int32"},
      {.op = "leaky_relu",
       .what = "an absent input",
       .call = [] { leaky_relu(Variable(), 0.1); },
       .message =
           "leaky_relu: expected float32 or float64 values, on cuda perhaps bfloat16, got none"}};
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
