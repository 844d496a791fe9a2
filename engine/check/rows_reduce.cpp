#include "engine/check/op_row.h"
#include "engine/ops/reduce.h"
#include "engine/ops/softmax.h"

namespace decant {
namespace {

struct Pattern {
  const char* variant;
  Shape x;
  std::vector<int> axes;
  bool keep_axes = false;
  bool large = false;
};

void add_reductions(std::vector<OpRow>& table) {
  const Pattern patterns[] = {
      {"all of a matrix", {3, 4}, {}},
      {"a scalar", {}, {}},
      {"all, axes kept", {2, 3, 2}, {}, true},
      {"first axis", {4, 3}, {0}},
      {"last axis, longer than the lanes", {3, 19}, {-1}},
      {"pixels of images", {2, 3, 4, 3}, {1, 2}},
      {"channels of images, kept", {2, 3, 2, 5}, {3}, true},
      {"batch and pixels", {2, 2, 3, 3}, {0, 1, 2}},
      {"axes apart", {3, 4, 2, 3}, {0, 2}},
      {"three groups", {2, 2, 3, 2, 2}, {4, 0, 2}, true},
      {"an axis of one", {3, 1, 2}, {1}},
      {"many chunks to a scalar", {70001}, {}, false, true},
      {"many chunks of rows", {700, 131}, {0}, false, true},
      {"blocks of columns", {2, 150, 600}, {1}, false, true},
      {"many short rows", {20011, 3}, {-1}, false, true},
      {"axes apart, many", {30, 70, 40}, {0, 2}, true, true},
  };
  struct Op {
    const char* name;
    Variable (*function)(const Variable&, const std::vector<int>&, bool);
  };
  for (const auto& [name, function] : {Op{"sum", sum}, Op{"mean", mean}, Op{"max", max}})
    for (const Pattern& p : patterns)
      table.push_back({.op = name,
                       .variant = p.variant,
                       .inputs = {distinct(p.x, p.large ? 1e-4 : 0.1)},
                       .call = [f = function, axes = p.axes, keep = p.keep_axes](
                                   const std::vector<Variable>& x) { return f(x[0], axes, keep); },
                       .large = p.large});
}

void add_softmax(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    Shape x;
    int axis;
    double spread = 1;
    bool large = false;
  };
  const Case cases[] = {
      {"last axis", {4, 5}, 1},
      {"first axis", {5, 4}, 0},
      {"middle axis", {2, 3, 4}, 1},
      {"two classes", {2, 3, 2, 2}, -1},
      {"large logits", {3, 4}, 1, 30},
      {"blocks of columns", {2, 3, 150}, 1, 1, true},
      {"many rows", {9000, 4}, -1, 1, true},
      {"long rows", {5, 9001}, -1, 1, true},
  };
  struct Op {
    const char* name;
    Variable (*function)(const Variable&, int);
  };
  for (const auto& [name, function] : {Op{"softmax", softmax}, Op{"log_softmax", log_softmax}})
    for (const Case& c : cases)
      table.push_back({.op = name,
                       .variant = c.variant,
                       .inputs = {uniform(c.x, -2 * c.spread, 2 * c.spread)},
                       .call = [f = function, axis = c.axis](
                                   const std::vector<Variable>& x) { return f(x[0], axis); },
                       .products = static_cast<double>(c.x[c.axis]),
                       .large = c.large});
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  add_reductions(table);
  add_softmax(table);
  return table;
}

Variable zeros(Shape shape) {
  return Variable(Tensor::zeros(shape));
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "sum",
       .what = "an axis outside",
       .call = [] { sum(zeros({2, 3}), {2}); },
       .message = "axis 2 is outside of shape [2, 3]"},
      {.op = "mean",
       .what = "an axis named twice",
       .call = [] { mean(zeros({2, 3}), {1, -1}); },
       .message = "axis -1 is named twice for shape [2, 3]"},
      {.op = "mean",
       .what = "no elements",
       .call = [] { mean(zeros({2, 0}), {1}); },
       .message = "shape [2, 0]"},
      {.op = "max",
       .what = "no elements, of no rows",
       .call = [] { max(zeros({2, 0, 0}), {1}); },
       .message = "shape [2, 0, 0]"},
      {.op = "max", .what = "no elements", .call = [] { max(zeros({0})); }, .message = "shape [0]"},
      {.op = "softmax",
       .what = "an axis of length 1",
       .call = [] { softmax(zeros({4, 1}), 1); },
       .message = "axis 1 of shape [4, 1] has length 1"},
      {.op = "log_softmax",
       .what = "an axis of length 1",
       .call = [] { log_softmax(zeros({1, 4}), 0); },
       .message = "axis 0 of shape [1, 4] has length 1"},
      {.op = "softmax",
       .what = "an axis outside",
       .call = [] { softmax(zeros({4}), 1); },
       .message = "axis 1 is outside of shape [4]"}};
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
