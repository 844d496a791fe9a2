// Layers whose activations are stored as bf16 beside parameters of float32.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/check/tolerance.h"
#include "engine/cuda/launch_count.h"
#include "engine/cuda/step_graph.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/conv_transpose2d.h"
#include "engine/ops/matmul.h"
#include "engine/ops/optimizer.h"

using namespace decant;

namespace {

using Layer = std::function<Variable(const Variable& x, const Variable& w, const Variable& b)>;

struct Case {
  std::string name;
  Shape x, w;
  int64_t outputs;  // of the bias; 0: none
  double products;  // at most, of a sum
  Layer layer;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      {"conv2d",
       {2, 5, 6, 8},
       {16, 3, 3, 8},
       16,
       144,
       [](const Variable& x, const Variable& w, const Variable& b) {
         return conv2d(x, w, b, {.padding = 1});
       }},
      {"conv2d 1x1",
       {2, 5, 6, 8},
       {16, 1, 1, 8},
       0,
       60,
       [](const Variable& x, const Variable& w, const Variable& b) { return conv2d(x, w, b); }},
      {"conv2d 1x1 with a bias",
       {2, 5, 6, 8},
       {16, 1, 1, 8},
       16,
       61,
       [](const Variable& x, const Variable& w, const Variable& b) { return conv2d(x, w, b); }},
      {"conv2d, depthwise",
       {2, 5, 6, 8},
       {8, 3, 3, 1},
       8,
       60,
       [](const Variable& x, const Variable& w, const Variable& b) {
         return conv2d(x, w, b, {.padding = 1, .groups = 8});
       }},
      {"conv_transpose2d",
       {2, 3, 4, 16},
       {16, 4, 4, 8},
       8,
       256,
       [](const Variable& x, const Variable& w, const Variable& b) {
         return conv_transpose2d(x, w, b, {.stride = 2, .padding = 1});
       }},
      {"conv_transpose2d 1x1 with a bias",
       {2, 3, 4, 16},
       {16, 1, 1, 8},
       8,
       24,
       [](const Variable& x, const Variable& w, const Variable& b) {
         return conv_transpose2d(x, w, b);
       }},
      {"linear",
       {3, 7, 24},
       {10, 24},
       0,
       24,
       [](const Variable& x, const Variable& w, const Variable& b) { return linear(x, w, b); }},
      {"linear with a bias",
       {3, 7, 24},
       {10, 24},
       10,
       25,
       [](const Variable& x, const Variable& w, const Variable& b) { return linear(x, w, b); }},
  };
  return table;
}

double distance(const Tensor& got, const Tensor& expected) {
  const Tensor a = got.to(Device::cpu).to(DType::f64);
  double squares = 0;
  double scale = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double value = expected.data<double>()[i];
    squares += (a.data<double>()[i] - value) * (a.data<double>()[i] - value);
    scale += value * value;
  }
  return std::sqrt(squares / scale);
}

Tensor rounded(const Tensor& t) {
  return t.to(DType::bf16).to(DType::f64);
}

struct Outcome {
  Tensor y, dx, dw, db;

  Outcome(const Layer& layer, const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& dy) {
    const Variable input = Variable::leaf(x);
    const Variable weights = Variable::leaf(w);
    const Variable bias = b.defined() ? Variable::leaf(b) : Variable();
    const Variable result = layer(input, weights, bias);
    y = result.value();
    backward(result, dy);
    dx = input.grad();
    dw = weights.grad();
    if (b.defined()) db = bias.grad();
  }
};

CoarseRoundings bf16_roundings(int of_each, const Outcome& o) {
  return {.to = Precision::bf16,
          .of_each = of_each,
          .values = std::min({o.y.size(), o.dx.size(), o.dw.size()})};
}

}  // namespace

TEST_CASE("layers keep activations in bf16 and parameters' gradients in float32") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    const Tensor x = rounded(randn(c.x, 1));
    const Tensor w = randn(c.w, 2).to(DType::f32).to(DType::f64);
    const Tensor b =
        c.outputs == 0 ? Tensor() : randn({c.outputs}, 3).to(DType::f32).to(DType::f64);
    const Shape ys = c.layer(Variable(x), Variable(w), {}).shape();
    const Tensor dy = rounded(randn(ys, 4));
    const Outcome expected(c.layer, x, w, b, dy);
    const auto on_cuda = [](const Tensor& t, DType type) {
      return t.defined() ? t.to(type).to(Device::cuda) : t;
    };
    const Outcome got(c.layer, on_cuda(x, DType::bf16), on_cuda(w, DType::f32),
                      on_cuda(b, DType::f32), on_cuda(dy, DType::bf16));
    CHECK(got.y.dtype() == DType::bf16);
    CHECK(got.dx.dtype() == DType::bf16);
    CHECK(got.dw.dtype() == DType::f32);
    // Results are rounded, and the weights that they are made of.
    const double stored = tolerance(c.products, 1, bf16_roundings(2, expected));
    const double sums = tolerance(c.products);
    CHECK(distance(got.y, expected.y) < stored);
    CHECK(distance(got.dx, expected.dx) < stored);
    CHECK(distance(got.dw, expected.dw) < sums);
    if (!b.defined()) continue;
    CHECK(got.db.dtype() == DType::f32);
    CHECK(distance(got.db, expected.db) < sums);
  }
}

TEST_CASE("the product of two bf16 matrices is one, and so are its gradients") {
  const Tensor a = rounded(randn({5, 24}, 1));
  const Tensor b = rounded(randn({10, 24}, 2));
  const Tensor dy = rounded(randn({5, 10}, 3));
  const Layer layer = [](const Variable& x, const Variable& w, const Variable&) {
    return matmul(x, w, {.transpose_b = true});
  };
  const auto on_cuda = [](const Tensor& t) { return t.to(DType::bf16).to(Device::cuda); };
  const Outcome expected(layer, a, b, {}, dy);
  const Outcome got(layer, on_cuda(a), on_cuda(b), {}, on_cuda(dy));
  const double allowed = tolerance(24, 1, bf16_roundings(1, expected));
  for (const auto& [mine, reference] :
       {std::pair(got.y, expected.y), std::pair(got.dx, expected.dx),
        std::pair(got.dw, expected.dw)}) {
    CHECK(mine.dtype() == DType::bf16);
    CHECK(distance(mine, reference) < allowed);
  }
}

TEST_CASE("bf16 parameters, and bf16 activations on the CPU, are refused") {
  const auto images = [](DType type, Device device) {
    return Variable(Tensor::zeros({1, 4, 4, 8}).to(type).to(device));
  };
  const auto weights = [](DType type, Device device) {
    return Variable(Tensor::zeros({8, 3, 3, 8}).to(type).to(device));
  };
  CHECK_THROWS_WITH_AS(
      conv2d(images(DType::bf16, Device::cpu), weights(DType::f32, Device::cpu)),
      "conv2d: expected one real type, or bfloat16 x on cuda and float32 w, got x bfloat16 and w "
      "float32",
      Error);
  CHECK_THROWS_WITH_AS(
      conv2d(images(DType::bf16, Device::cuda), weights(DType::bf16, Device::cuda)),
      "conv2d: expected one real type, or bfloat16 x on cuda and float32 w, got x bfloat16 and w "
      "bfloat16",
      Error);
}

TEST_CASE("weights in bf16 are those of now, whoever wrote them, and made once for all that read") {
  const Variable x(rounded(randn({3, 16}, 1)).to(DType::bf16).to(Device::cuda));
  Tensor flat = randn({2, 8, 16}, 2).to(DType::f32).to(Device::cuda);
  const std::vector<Tensor> weights = {flat.view(0, {8, 16}), flat.view(128, {8, 16})};
  const auto product_of = [&](const Tensor& w) {
    return linear(x, Variable(w), {}).value().to(Device::cpu).to(DType::f64);
  };
  const auto expect_present = [&] {
    for (const Tensor& w : weights) CHECK(distance(product_of(w), product_of(w.clone())) == 0);
  };
  expect_present();
  Tensor(weights[1]).copy_from(randn({8, 16}, 3).to(DType::f32).to(Device::cuda));
  expect_present();
  scale_in_place(flat, -2);
  expect_present();

  const uint64_t before = cuda::launch_count();
  scale_in_place(flat, 0.5);
  for (const Tensor& w : weights) linear(x, Variable(w), {});
  for (const Tensor& w : weights) linear(x, Variable(w), {});
  CHECK(cuda::launch_count() - before == 1 + 1 + 4);  // scale, round, four products

  Tensor y;
  cuda::StepGraph graph;
  for (int i = 0; i < 4; ++i) {
    const Tensor expected = product_of(weights[1].clone());
    graph.run([&] {
      y = linear(x, Variable(weights[1]), {}).value();
      scale_in_place(flat, 1.25);
    });
    CHECK(distance(y, expected) == 0);
    expect_present();
    if (i == 2) flat.copy_from(randn({2, 8, 16}, 4).to(DType::f32).to(Device::cuda));
  }
  CHECK(graph.recorded());
}
