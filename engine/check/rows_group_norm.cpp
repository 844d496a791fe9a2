#include <cmath>

#include "engine/check/op_row.h"
#include "engine/ops/group_norm.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;

struct Case {
  const char* variant;
  Shape x;
  GroupNormOptions options;
  double mean = 0, deviation = 1;  // of x
};

std::vector<OpRow> rows() {
  const Case cases[] = {
      {"two groups", {2, 2, 3, 4}, {.groups = 2}},
      {"three channels per group", {2, 3, 2, 6}, {.groups = 2}},
      {"one group", {3, 2, 2, 3}, {.groups = 1}},
      {"a group per channel", {2, 3, 3, 3}, {.groups = 3}},
      {"one pixel", {2, 1, 1, 8}, {.groups = 2}},
      {"a large eps", {1, 3, 3, 4}, {.groups = 2, .eps = 0.5}},
      {"real: 32 groups of 128", {2, 24, 25, 128}, {.groups = 32}},
      {"real: 5 groups of 35", {3, 20, 21, 35}, {.groups = 5}},
      {"real: many pixels of few channels", {1, 70, 81, 2}, {.groups = 2}},
      {"real: mean far from zero", {2, 24, 25, 12}, {.groups = 4}, 1e3, 0.1},
  };
  std::vector<OpRow> table;
  for (const Case& c : cases) {
    const int64_t channels = c.x[3];
    Tensor x = randn(c.x, 1);
    for (double& v : x.mutable_values<double>()) v = c.mean + c.deviation * v;
    // The moments of a group, the gradients' sums, and some pointwise steps; dscale and dshift add
    // up every image. A mean that is large beside the deviation costs one rounding of its own size.
    const int64_t group = c.x[1] * c.x[2] * channels / c.options.groups;
    const auto products = static_cast<double>(2 * group * c.x[0] + 8);
    OpRow row{
        .op = "group_norm",
        .variant = c.variant,
        .inputs = {x, uniform({channels}, 0.5, 1.5, 2), uniform({channels}, -1, 1, 3)},
        .call = [o = c.options](const Inputs& in) { return group_norm(in[0], in[1], in[2], o); },
        .products = products,
        .kappa = 1 + std::abs(c.mean) / c.deviation / (std::sqrt(products) + 4),
        .large = x.size() > 500};
    table.push_back(row);
    if (c.options.groups != channels) continue;
    row.variant = str(c.variant, ", no parameters");
    row.inputs = {x};
    row.call = [o = c.options](const Inputs& in) {
      return group_norm(in[0], Variable(), Variable(), o);
    };
    table.push_back(row);
  }
  return table;
}

std::function<void()> call(Shape x, Shape scale, GroupNormOptions options,
                           DType dtype = DType::f32) {
  return [=] {
    group_norm(Variable(Tensor::zeros(x, dtype)), Variable(Tensor::zeros(scale)),
               Variable(Tensor::zeros({x[-1]})), options);
  };
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "group_norm",
       .what = "groups that do not divide the channels",
       .call = call({1, 2, 2, 6}, {6}, {.groups = 4}),
       .message = "divides the channels of x [1, 2, 2, 6], got 4"},
      {.op = "group_norm",
       .what = "no groups",
       .call = call({1, 2, 2, 6}, {6}, {.groups = 0}),
       .message = "divides the channels of x [1, 2, 2, 6], got 0"},
      {.op = "group_norm",
       .what = "rank 3",
       .call = call({2, 2, 6}, {6}, {.groups = 2}),
       .message = "expected [N, H, W, C] with pixels, got [2, 2, 6]"},
      {.op = "group_norm",
       .what = "groups of one value",
       .call = call({4, 1, 1, 6}, {6}, {.groups = 6}),
       .message = "more than one value per image and group, got x [4, 1, 1, 6] in 6 groups"},
      {.op = "group_norm",
       .what = "scale of another size",
       .call = call({1, 2, 2, 6}, {3}, {.groups = 2}),
       .message = "group_norm: expected scale [6] for x [1, 2, 2, 6], got [3]"},
      {.op = "group_norm",
       .what = "two types",
       .call = call({1, 2, 2, 6}, {6}, {.groups = 2}, DType::f64),
       .message = "expected scale of type float64, got float32"},
      {.op = "group_norm",
       .what = "eps 0",
       .call = call({1, 2, 2, 6}, {6}, {.groups = 2, .eps = 0}),
       .message = "group_norm: expected a finite eps > 0, got 0"},
  };
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
