#include "engine/check/op_row.h"
#include "engine/ops/matmul.h"

namespace decant {
namespace {

struct Product {
  const char* variant;
  Shape a, b;
  MatmulOptions options;
};

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  const Product products[] = {
      {"one element", {1, 1}, {1, 1}, {}},
      {"3x4 4x5", {3, 4}, {4, 5}, {}},
      {"a transposed", {4, 3}, {4, 5}, {.transpose_a = true}},
      {"b transposed", {3, 4}, {5, 4}, {.transpose_b = true}},
      {"both transposed", {4, 3}, {5, 4}, {.transpose_a = true, .transpose_b = true}},
      {"several tiles and parts", {101, 260}, {260, 83}, {}},
      {"several tiles, a transposed", {260, 101}, {260, 83}, {.transpose_a = true}},
      {"several tiles, b transposed", {101, 260}, {83, 260}, {.transpose_b = true}},
      {"a batch", {2, 3, 4}, {2, 4, 5}, {}},
      {"a batch, a transposed", {2, 4, 3}, {2, 4, 5}, {.transpose_a = true}},
      {"a batch, b transposed", {3, 3, 4}, {3, 5, 4}, {.transpose_b = true}},
      {"a large batch, both transposed",
       {3, 49, 35},
       {3, 49, 49},
       {.transpose_a = true, .transpose_b = true}},
  };
  for (const Product& p : products) {
    const int64_t m = p.a[p.options.transpose_a ? -1 : -2];
    const int64_t k = p.a[p.options.transpose_a ? -2 : -1];
    const int64_t n = p.b[p.options.transpose_b ? -2 : -1];
    table.push_back(
        {.op = "matmul",
         .variant = p.variant,
         .inputs = {randn(p.a, 1), randn(p.b, 2)},
         .call = [o = p.options](const std::vector<Variable>& x) { return matmul(x[0], x[1], o); },
         .products = static_cast<double>(k),
         .gradient_products = {static_cast<double>(n), static_cast<double>(m)},
         .large = p.a.size() > 1000});
  }
  table.push_back({.op = "linear",
                   .variant = "2x3x4 to 5",
                   .inputs = {randn({2, 3, 4}, 1), randn({5, 4}, 2), randn({5}, 3)},
                   .call = [](const std::vector<Variable>& x) { return linear(x[0], x[1], x[2]); },
                   .products = 5,
                   .gradient_products = {5, 6, 6}});
  table.push_back({.op = "linear",
                   .variant = "one vector, no bias",
                   .inputs = {randn({7}, 1), randn({3, 7}, 2)},
                   .call = [](const std::vector<Variable>& x) { return linear(x[0], x[1]); },
                   .products = 7,
                   .gradient_products = {3, 1}});
  table.push_back({.op = "linear",
                   .variant = "several tiles",
                   .inputs = {randn({50, 300}, 1), randn({70, 300}, 2), randn({70}, 3)},
                   .call = [](const std::vector<Variable>& x) { return linear(x[0], x[1], x[2]); },
                   .products = 301,
                   .gradient_products = {70, 50, 50},
                   .large = true});
  return table;
}

Variable zeros(Shape shape, DType dtype = DType::f32) {
  return Variable(Tensor::zeros(shape, dtype));
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "matmul",
       .what = "inner sizes",
       .call = [] { matmul(zeros({2, 3}), zeros({4, 5})); },
       .message = "matmul: inner sizes differ, a [2, 3] and b [4, 5]"},
      {.op = "matmul",
       .what = "rank 3",
       .call = [] { matmul(zeros({2, 3, 4}), zeros({4, 5})); },
       .message = "got a [2, 3, 4] and b [4, 5]"},
      {.op = "matmul",
       .what = "batches of different size",
       .call = [] { matmul(zeros({2, 3, 4}), zeros({3, 4, 5})); },
       .message = "two batches of as many, got a [2, 3, 4] and b [3, 4, 5]"},
      {.op = "matmul",
       .what = "inner sizes in a batch",
       .call = [] { matmul(zeros({2, 3, 4}), zeros({2, 3, 5})); },
       .message = "matmul: inner sizes differ, a [2, 3, 4] and b [2, 3, 5]"},
      {.op = "matmul",
       .what = "two types",
       .call = [] { matmul(zeros({2, 3}), zeros({3, 2}, DType::f64)); },
       .message = "matmul: expected one real type, got a float32 and b float64"},
      {.op = "linear",
       .what = "no inputs",
       .call = [] { linear(zeros({2, 0}), zeros({4, 0})); },
       .message = "with in > 0, got x [2, 0] and w [4, 0]"},
      {.op = "linear",
       .what = "inner sizes",
       .call = [] { linear(zeros({2, 3}), zeros({4, 5})); },
       .message = "got x [2, 3] and w [4, 5]"},
      {.op = "linear",
       .what = "bias of another size",
       .call = [] { linear(zeros({2, 3}), zeros({4, 3}), zeros({3})); },
       .message = "expected b [4] for w [4, 3], got b [3]"},
  };
}

const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
