#include <cmath>

#include "engine/check/op_row.h"
#include "engine/ops/losses.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;

// 1 where a uniform value lies below `share`.
Tensor mask_of(Shape shape, double share) {
  Tensor mask = uniform(shape, 0, 1, 99);
  for (double& v : mask.mutable_values<double>()) v = v < share ? 1 : 0;
  return mask;
}

struct Masked {
  const char* variant;
  Shape x;
  Shape mask;  // read where `share` < 1
  double share = 1;
  bool large = false;
};

const Masked kElementwise[] = {
    {"no mask", {2, 3, 2, 2}, {}},
    {"a scalar", {}, {}},
    {"mask", {2, 3, 2, 2}, {2, 3, 2, 2}, 0.6},
    {"one mask for all channels", {2, 3, 2, 3}, {2, 3, 2, 1}, 0.5},
    {"several chunks and a rest", {3, 13007}, {}, 1, true},
    {"several chunks, mask", {3, 13007}, {3, 13007}, 0.3, true},
};

// A loss of two tensors and a mask; `constants` are those inputs without a gradient.
template <class F>
void add_elementwise(std::vector<OpRow>& table, const char* op, const std::string& suffix,
                     const F& loss, bool second_in_unit_range,
                     const std::vector<size_t>& constants) {
  for (const Masked& c : kElementwise) {
    const bool masked = c.share < 1;
    OpRow row = {
        .op = op,
        .variant = c.variant + suffix,
        .inputs = {randn(c.x, 1), second_in_unit_range ? uniform(c.x, 0, 1, 2) : randn(c.x, 2)},
        .call = [loss, masked](
                    const Inputs& x) { return loss(x[0], x[1], masked ? x[2].value() : Tensor()); },
        .products = 1,
        .constants = constants,
        .large = c.large};
    if (masked) {
      row.inputs.push_back(mask_of(c.mask, c.share));
      row.constants.push_back(2);
    }
    table.push_back(std::move(row));
  }
}

void add_rows_of_distributions(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    Shape x;
    double temperature = 1;
    double share = 1;
    bool large = false;
  };
  for (const Case& c :
       {Case{"T 1", {4, 5}}, Case{"T 3", {4, 5}, 3}, Case{"T 0.5", {3, 2}, 0.5},
        Case{"mask, some rows empty", {9, 3}, 2, 0.3}, Case{"longer rows, mask", {5, 70}, 2, 0.5},
        Case{"one long row", {1, 9001}, 1, 1, true},
        Case{"long rows, mask", {3, 1030}, 1, 0.6, true}, Case{"many rows", {9001, 2}, 2, 1, true},
        Case{"many rows, mask", {3001, 7}, 2, 0.5, true}}) {
    const bool masked = c.share < 1;
    OpRow row = {.op = "kl_div_rows",
                 .variant = c.variant,
                 .inputs = {randn(c.x, 1), randn(c.x, 2)},
                 .call =
                     [masked, o = KlOptions{c.temperature}](const Inputs& x) {
                       return kl_div_rows(x[0], x[1], o, masked ? x[2].value() : Tensor());
                     },
                 .products = static_cast<double>(c.x[1]),
                 .constants = {0},
                 .large = c.large};
    if (masked) {
      row.inputs.push_back(mask_of(c.x, c.share));
      row.constants.push_back(2);
    }
    table.push_back(std::move(row));
  }
}

// Labels 0, 1, .. in turn; every fifth is `ignored`.
Tensor labels_of(Shape shape, int64_t classes, int64_t ignored, DType dtype) {
  Tensor labels(shape, DType::i64);
  int64_t i = 0;
  for (int64_t& label : labels.mutable_values<int64_t>()) {
    label = i % 5 == 3 ? ignored : (i * 7 + 1) % classes;
    ++i;
  }
  return labels.to(dtype);
}

void add_cross_entropy(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    Shape logits, labels;
    DType dtype = DType::i64;
    int64_t ignored = 0;
    bool masked = false;
    bool large = false;
  };
  for (const Case& c :
       {Case{"pixels", {2, 2, 3, 4}, {2, 2, 3}}, Case{"one sample", {3}, {}},
        Case{"int32 labels, some ignored", {11, 3}, {11}, DType::i32, -100},
        Case{"ignored by another label, mask", {12, 3}, {12}, DType::i64, 255, true},
        Case{"uint8 labels, more classes", {7, 40}, {7}, DType::u8, 255},
        Case{"as many classes as words", {3, 1030}, {3}, DType::i32, -100, false, true},
        Case{"many samples", {9001, 2}, {9001}, DType::i64, -100, true, true}}) {
    OpRow row = {.op = "cross_entropy",
                 .variant = c.variant,
                 .inputs = {randn(c.logits), labels_of(c.labels, c.logits[-1], c.ignored, c.dtype)},
                 .call =
                     [masked = c.masked,
                      o = CrossEntropyOptions{c.ignored == 0 ? -100 : c.ignored}](const Inputs& x) {
                       return cross_entropy(x[0], x[1].value(), o,
                                            masked ? x[2].value() : Tensor());
                     },
                 .products = static_cast<double>(c.logits[-1]),
                 .constants = {1},
                 .large = c.large};
    if (c.masked) {
      row.inputs.push_back(mask_of(c.labels, 0.6));
      row.constants.push_back(2);
    }
    table.push_back(std::move(row));
  }
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  add_elementwise(table, "bce_with_logits", "",
                  [](const Variable& z, const Variable& y, const Tensor& mask) {
                    return bce_with_logits(z, y.value(), mask);
                  },
                  true, {1});
  add_elementwise(
      table, "mse", "",
      [](const Variable& a, const Variable& b, const Tensor& mask) { return mse(a, b, mask); },
      false, {});
  for (const double t : {1.0, 2.5})
    add_elementwise(table, "kl_div_bernoulli", str(", T ", t),
                    [t](const Variable& teacher, const Variable& student, const Tensor& mask) {
                      return kl_div_bernoulli(teacher, student, {.temperature = t}, mask);
                    },
                    false, {0});
  add_rows_of_distributions(table);
  add_cross_entropy(table);
  return table;
}

Variable zeros(Shape shape) {
  return Variable(Tensor::zeros(shape));
}
Tensor none(Shape shape) {
  return Tensor::zeros(shape);
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "bce_with_logits",
       .what = "targets of another shape",
       .call = [] { bce_with_logits(zeros({2, 3}), none({3, 2})); },
       .message = "logits [2, 3] and targets [3, 2]"},
      {.op = "bce_with_logits",
       .what = "targets that are no probabilities",
       .call = [] { bce_with_logits(zeros({2}), Tensor::of<uint8_t>({2}, {1, 255})); },
       .message = "bce_with_logits: expected targets in [0, 1], got 255"},
      {.op = "bce_with_logits",
       .what = "targets that are NaN",
       .call = [] { bce_with_logits(zeros({2}), Tensor::full({2}, NAN)); },
       .message = "expected targets in [0, 1], got nan"},
      {.op = "bce_with_logits",
       .what = "a mask of another shape",
       .call = [] { bce_with_logits(zeros({2, 3}), none({2, 3}), none({3, 3})); },
       .message = "[2, 3] or [2, 1], got [3, 3]"},
      {.op = "mse",
       .what = "a mask that leaves nothing",
       .call = [] { mse(zeros({2, 3}), zeros({2, 3}), none({2, 1})); },
       .message = "a mask of [2, 1] that leaves none"},
      {.op = "mse",
       .what = "a mask of shares",
       .call = [] { mse(zeros({2}), zeros({2}), Tensor::full({2}, 0.5)); },
       .message = "a mask of 0 and 1, got 0.5"},
      {.op = "mse",
       .what = "other shapes",
       .call = [] { mse(zeros({2}), zeros({1})); },
       .message = "a [2] and b [1]"},
      {.op = "mse",
       .what = "no elements",
       .call = [] { mse(zeros({0, 2}), zeros({0, 2})); },
       .message = "got shape [0, 2]"},
      {.op = "kl_div_rows",
       .what = "rows of one position",
       .call = [] { kl_div_rows(zeros({4, 1}), zeros({4, 1})); },
       .message = "use kl_div_bernoulli"},
      {.op = "kl_div_rows",
       .what = "rank 3",
       .call = [] { kl_div_rows(zeros({4, 2, 2}), zeros({4, 2, 2})); },
       .message = "teacher [4, 2, 2] and student [4, 2, 2]"},
      {.op = "kl_div_rows",
       .what = "other shapes",
       .call = [] { kl_div_rows(zeros({4, 2}), zeros({4, 3})); },
       .message = "teacher [4, 2] and student [4, 3]"},
      {.op = "kl_div_rows",
       .what = "every position masked",
       .call = [] { kl_div_rows(zeros({4, 2}), zeros({4, 2}), {}, none({4, 2})); },
       .message = "that leaves none"},
      {.op = "kl_div_rows",
       .what = "temperature 0",
       .call = [] { kl_div_rows(zeros({4, 2}), zeros({4, 2}), {.temperature = 0}); },
       .message = "temperature above 0, got 0"},
      {.op = "kl_div_bernoulli",
       .what = "other shapes",
       .call = [] { kl_div_bernoulli(zeros({4}), zeros({4, 1})); },
       .message = "teacher [4] and student [4, 1]"},
      {.op = "cross_entropy",
       .what = "one class",
       .call = [] { cross_entropy(zeros({4, 1}), Tensor::zeros({4}, DType::i64)); },
       .message = "use bce_with_logits"},
      {.op = "cross_entropy",
       .what = "labels of another shape",
       .call = [] { cross_entropy(zeros({4, 2}), Tensor::zeros({4, 2}, DType::i64)); },
       .message = "logits [4, 2] and labels [4, 2]"},
      {.op = "cross_entropy",
       .what = "a label outside of the classes",
       .call = [] { cross_entropy(zeros({2, 2}), Tensor::of<int64_t>({2}, {0, 2})); },
       .message = "labels from 0 to 1, got 2 at element 1"},
      {.op = "cross_entropy",
       .what = "real labels",
       .call = [] { cross_entropy(zeros({2, 2}), none({2})); },
       .message = "int32 or int64 labels, got float32"},
      {.op = "cross_entropy",
       .what = "every sample ignored",
       .call = [] { cross_entropy(zeros({1, 2}), Tensor::of<int64_t>({1}, {-100})); },
       .message = "none counts"},
  };
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
