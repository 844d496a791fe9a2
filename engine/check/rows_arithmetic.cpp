#include "engine/check/op_row.h"
#include "engine/ops/arithmetic.h"

namespace decant {
namespace {

struct Pattern {
  const char* variant;
  Shape a, b;
  double repeats = 1;  // how many entries of a gradient are summed at most
  bool large = false;
};

std::vector<OpRow> rows() {
  const Pattern patterns[] = {
      {"equal shapes", {3, 5}, {3, 5}},
      {"two scalars", {}, {}},
      {"a scalar with a matrix", {}, {3, 4}, 12},
      {"bias over channels", {2, 3, 2, 4}, {4}, 12},
      {"scale of each image and channel", {2, 3, 2, 4}, {2, 1, 1, 4}, 6},
      {"one channel over all", {2, 3, 2, 1}, {2, 3, 2, 4}, 4},
      {"both repeated", {3, 1, 2}, {1, 4, 1}, 6},
      {"repeated between kept axes", {2, 3, 2, 3}, {1, 3, 1, 3}, 4},
      {"extents of one", {1, 1, 5}, {5, 1, 1}, 5},
      {"several chunks, equal", {3, 13007}, {3, 13007}, 1, true},
      {"several chunks, scale of each image", {2, 60, 60, 7}, {2, 1, 1, 7}, 3600, true},
      {"several chunks, bias", {200, 300}, {300}, 200, true},
  };
  struct Op {
    const char* name;
    Variable (*function)(const Variable&, const Variable&);
  };
  std::vector<OpRow> table;
  for (const auto& [name, function] :
       {Op{"add", add}, Op{"sub", sub}, Op{"mul", mul}, Op{"div", div}})
    for (const Pattern& p : patterns)
      table.push_back(
          {.op = name,
           .variant = p.variant,
           .inputs = {randn(p.a, 1), uniform(p.b, 0.5, 2, 2)},
           .call = [f = function](const std::vector<Variable>& x) { return f(x[0], x[1]); },
           .products = p.repeats,
           .large = p.large});
  for (const bool large : {false, true}) {
    const Shape shape = large ? Shape{3, 13007} : Shape{3, 4};
    const char* variant = large ? "several chunks and a rest" : "a matrix";
    table.push_back({.op = "scale",
                     .variant = variant,
                     .inputs = {randn(shape)},
                     .call = [](const std::vector<Variable>& x) { return scale(x[0], -1.7); },
                     .large = large});
    table.push_back({.op = "add_scalar",
                     .variant = variant,
                     .inputs = {randn(shape)},
                     .call = [](const std::vector<Variable>& x) { return add_scalar(x[0], 0.3); },
                     .large = large});
  }
  return table;
}

Variable zeros(Shape shape, DType dtype = DType::f32) {
  return Variable(Tensor::zeros(shape, dtype));
}

std::vector<RejectRow> rejects() {
  return {{.op = "add",
           .what = "shapes that do not broadcast",
           .call = [] { add(zeros({2, 3}), zeros({2, 4})); },
           .message = "a [2, 3] and b [2, 4]"},
          {.op = "sub",
           .what = "shapes aligned at the front",
           .call = [] { sub(zeros({2}), zeros({2, 3})); },
           .message = "a [2] and b [2, 3]"},
          {.op = "mul",
           .what = "two types",
           .call = [] { mul(zeros({2}), zeros({2}, DType::f64)); },
           .message = "float32 [2] and float64 [2]"},
          {.op = "div",
           .what = "an absent operand",
           .call = [] { div(zeros({2}), Variable()); },
           .message = "expected float32 or float64 values, on cuda perhaps bfloat16, got none"}};
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
