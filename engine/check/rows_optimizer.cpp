#include <cmath>

#include "engine/check/op_row.h"
#include "engine/ops/optimizer.h"
#include "engine/ops/shape_ops.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;

// Updates write in place, so rows work on copies and return all that was written as one tensor.
Variable written(const std::vector<Tensor>& buffers) {
  std::vector<Variable> parts(buffers.begin(), buffers.end());
  return concat(parts, 0);
}

constexpr int64_t kSizes[] = {7, 40'003};  // one chunk; several and a rest

std::string size_name(int64_t size) {
  return size == kSizes[0] ? "" : ", several chunks and a rest";
}

void add_steps(std::vector<OpRow>& table, int64_t size) {
  struct Sgd {
    const char* variant;
    SgdOptions options;
    bool first_step;
  };
  for (const Sgd& c :
       {Sgd{"plain", {.learning_rate = 0.1}, true},
        Sgd{"first step", {.learning_rate = 0.1, .momentum = 0.9}, true},
        Sgd{"momentum", {.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01}, false},
        Sgd{"nesterov", {.learning_rate = 0.1, .momentum = 0.9, .nesterov = true}, false}})
    table.push_back({.op = "sgd_step",
                     .variant = c.variant + size_name(size),
                     .inputs = {randn({size}, 1), randn({size}, 2), randn({size}, 3)},
                     .call =
                         [o = c.options, first = c.first_step](const Inputs& x) {
                           const Tensor w = x[0].value().clone();
                           const Tensor m = x[2].value().clone();
                           sgd_step(w, x[1].value(), m, o, first);
                           return written({w, m});
                         },
                     .constants = {0, 1, 2}});

  struct Adam {
    const char* variant;
    AdamOptions options;
  };
  for (const Adam& c :
       {Adam{"first step", {}}, Adam{"step 7, decay", {.weight_decay = 0.1, .step = 7}},
        Adam{"step 7, decoupled",
             {.learning_rate = 0.1, .weight_decay = 0.1, .decoupled = true, .step = 7}}})
    table.push_back({.op = "adam_step",
                     .variant = c.variant + size_name(size),
                     .inputs = {randn({size}, 1), randn({size}, 2), randn({size}, 3),
                                uniform({size}, 0.1, 2, 4)},
                     .call =
                         [o = c.options](const Inputs& x) {
                           const Tensor w = x[0].value().clone();
                           const Tensor m = x[2].value().clone();
                           const Tensor v = x[3].value().clone();
                           adam_step(w, x[1].value(), m, v, o);
                           return written({w, m, v});
                         },
                     .constants = {0, 1, 2, 3}});
}

void add_buffers(std::vector<OpRow>& table, int64_t size) {
  const auto add = [&](const char* op, auto call, const char* variant = "flat") {
    table.push_back(
        {.op = op,
         .variant = variant + size_name(size),
         .inputs = {randn({size}, 1), randn({size}, 2)},
         .call =
             [call](const Inputs& x) { return Variable(call(x[0].value().clone(), x[1].value())); },
         .constants = {0, 1}});
  };
  add("squared_norm", [](const Tensor& x, const Tensor&) {
    return Tensor::full({}, squared_norm(x), x.dtype(), x.device());
  });
  add("clip_norm", [](const Tensor& x, const Tensor& y) {
    const Tensor second = y.clone();
    const Tensor both[] = {x, second};
    clip_norm(both, 2);
    return written({x, second}).value();
  });
  add(
      "clip_norm",
      [](const Tensor& x, const Tensor&) {
        clip_norm({&x, 1}, 1e6);
        return x;
      },
      "below the limit");
  add(
      "clip_norm",
      [](const Tensor& x, const Tensor&) {
        const Tensor end = x.view(1, {x.size() - 1});
        clip_norm({&end, 1}, 1);
        return x;
      },
      "unaligned");
  add("scale_in_place", [](const Tensor& x, const Tensor&) {
    scale_in_place(x, -0.3);
    return x;
  });
  add("fill", [](const Tensor& x, const Tensor&) {
    fill(x, 1.5);
    return x;
  });
  add("copy", [](const Tensor& x, const Tensor& y) {
    copy(x, y);
    return x;
  });
  add("ema_update", [](const Tensor& x, const Tensor& y) {
    ema_update(x, y, 0.9);
    return x;
  });
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  for (const int64_t size : kSizes) {
    add_steps(table, size);
    add_buffers(table, size);
  }
  return table;
}

Tensor zeros(Shape shape, DType dtype = DType::f32) {
  return Tensor::zeros(shape, dtype);
}

void sgd(const SgdOptions& options) {
  sgd_step(zeros({3}), zeros({3}), zeros({3}), options, true);
}
void adam(const AdamOptions& options) {
  adam_step(zeros({3}), zeros({3}), zeros({3}), zeros({3}), options);
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "sgd_step",
       .what = "a learning rate that is NaN",
       .call = [] { sgd({.learning_rate = NAN}); },
       .message = "sgd_step: expected a learning_rate of at least 0, got nan"},
      {.op = "sgd_step",
       .what = "momentum 1",
       .call = [] { sgd({.momentum = 1}); },
       .message = "sgd_step: expected a momentum in [0, 1), got 1"},
      {.op = "sgd_step",
       .what = "negative weight decay",
       .call = [] { sgd({.weight_decay = -1}); },
       .message = "sgd_step: expected a weight_decay of at least 0, got -1"},
      {.op = "adam_step",
       .what = "an infinite learning rate",
       .call = [] { adam({.learning_rate = INFINITY}); },
       .message = "adam_step: expected a learning_rate of at least 0, got inf"},
      {.op = "adam_step",
       .what = "beta1 of 1",
       .call = [] { adam({.beta1 = 1}); },
       .message = "adam_step: expected a beta1 in [0, 1), got 1"},
      {.op = "adam_step",
       .what = "beta2 below 0",
       .call = [] { adam({.beta2 = -0.1}); },
       .message = "adam_step: expected a beta2 in [0, 1), got -0.1"},
      {.op = "adam_step",
       .what = "eps 0, which divides by 0 where no gradient came",
       .call = [] { adam({.eps = 0}); },
       .message = "adam_step: expected a finite eps > 0, got 0"},
      {.op = "adam_step",
       .what = "weight decay that is NaN",
       .call = [] { adam({.weight_decay = NAN}); },
       .message = "adam_step: expected a weight_decay of at least 0, got nan"},
      {.op = "ema_update",
       .what = "a decay above 1",
       .call = [] { ema_update(zeros({3}), zeros({3}), 1.1); },
       .message = "ema_update: expected a decay in [0, 1], got 1.1"},
      {.op = "sgd_step",
       .what = "gradients of another shape",
       .call = [] { sgd_step(zeros({3}), zeros({2}), {}, {}, true); },
       .message = "gradients of float32 [3], got float32 [2]"},
      {.op = "sgd_step",
       .what = "no momentum buffer",
       .call = [] { sgd_step(zeros({3}), zeros({3}), {}, {.momentum = 0.9}, true); },
       .message = "got none"},
      {.op = "sgd_step",
       .what = "nesterov without momentum",
       .call = [] { sgd_step(zeros({3}), zeros({3}), {}, {.nesterov = true}, true); },
       .message = "momentum above 0"},
      {.op = "adam_step",
       .what = "moments of another type",
       .call = [] { adam_step(zeros({3}), zeros({3}), zeros({3}), zeros({3}, DType::f64), {}); },
       .message = "v of float32 [3], got float64 [3]"},
      {.op = "adam_step",
       .what = "step 0",
       .call = [] { adam_step(zeros({3}), zeros({3}), zeros({3}), zeros({3}), {.step = 0}); },
       .message = "counted from 1, got 0"},
      {.op = "squared_norm",
       .what = "whole numbers",
       .call = [] { squared_norm(zeros({3}, DType::i64)); },
       .message = "got int64"},
      {.op = "clip_norm",
       .what = "a limit below 0",
       .call =
           [] {
             const Tensor x = zeros({3});
             clip_norm({&x, 1}, -1);
           },
       .message = "clip_norm: expected a limit of at least 0, got -1"},
      {.op = "scale_in_place",
       .what = "whole numbers",
       .call = [] { scale_in_place(zeros({3}, DType::i64), 2); },
       .message = "got int64"},
      {.op = "fill",
       .what = "whole numbers",
       .call = [] { fill(zeros({3}, DType::i64), 2); },
       .message = "got int64"},
      {.op = "copy",
       .what = "another shape",
       .call = [] { copy(zeros({3}), zeros({4})); },
       .message = "float32 [3], got float32 [4]"},
      {.op = "ema_update",
       .what = "another shape",
       .call = [] { ema_update(zeros({3}), zeros({4}), 0.9); },
       .message = "float32 [3], got float32 [4]"},
  };
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
