// Values that are made where they are read: once, or nearly; the same bits however they are cut;
// and never of anything that was written to since.
#include <doctest/doctest.h>

#include <atomic>
#include <bit>
#include <cstring>
#include <latch>
#include <thread>

#include "engine/check/op_row.h"
#include "engine/core/error.h"
#include "engine/cpu/source.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/batch_norm_passes.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/conv_transpose2d.h"
#include "engine/ops/resize.h"
#include "tests/engine/simd_cases.h"

using namespace decant;

namespace {

Tensor normal_tensor(const Shape& shape, uint64_t seed) {
  return Tensor::of<float>(shape, normal(shape.size(), seed));
}

Floats floats(const Tensor& t) {
  return {t.values<float>().begin(), t.values<float>().end()};
}

// A promise of the values of t, which counts the rows that it makes.
Tensor counted(const Tensor& t, std::atomic<int64_t>& rows) {
  return Tensor::promised(t.shape(), [t, &rows](int64_t begin, int64_t end, float* out) {
    const int64_t c = t.shape()[-1];
    rows += end - begin;
    std::copy(t.data<float>() + begin * c, t.data<float>() + end * c, out);
  });
}

Variable normalized(const Variable& x, Activation activation = Activation::none) {
  const Shape channels = {x.shape()[-1]};
  Tensor mean = Tensor::zeros(channels);
  Tensor var = Tensor::full(channels, 1);
  return batch_norm(x, Variable(normal_tensor(channels, 11)), Variable(normal_tensor(channels, 12)),
                    mean, var, {.training = true, .activation = activation});
}

// What t promises has the bits of its data in cuts of so many rows; returns the data.
Floats checked_cuts(const Tensor& t) {
  const auto promise = t.promise();
  REQUIRE(promise != nullptr);
  const int64_t c = t.shape()[-1];
  const int64_t rows = t.size() / c;
  const Floats whole = floats(t);
  for (const int64_t cut : {1, 3, 5}) {
    CAPTURE(cut);
    Floats pieces = nans(t.size());
    for (int64_t begin = 0; begin < rows; begin += cut)
      (*promise)(begin, std::min(rows, begin + cut), pieces.data() + begin * c);
    CHECK(std::memcmp(pieces.data(), whole.data(), whole.size() * sizeof(float)) == 0);
  }
  return whole;
}

}  // namespace

TEST_CASE("a promised tensor is made once, whole, when its data are asked for") {
  int made = 0;
  const auto make = [&made](int64_t begin, int64_t end, float* out) {
    ++made;
    for (int64_t i = 2 * begin; i < 2 * end; ++i) *out++ = static_cast<float>(i);
  };
  Tensor t = Tensor::promised({3, 2}, make);
  CHECK(made == 0);
  const Tensor same = t.reshape({1, 3, 2});
  REQUIRE(same.promise() != nullptr);
  CHECK(t.reshape({2, 3}).promise() == nullptr);  // of other rows
  CHECK(t.view(2, {1, 2}).promise() == nullptr);  // not the whole
  float piece[2] = {};
  (*same.promise())(1, 2, piece);
  CHECK(piece[1] == 3);
  made = 0;
  CHECK(same.data<float>()[5] == 5);
  CHECK(t.data<float>() == same.data<float>());
  CHECK(made == 1);
  CHECK(t.promise() == nullptr);
  CHECK(t.version() == 0);
  t.mutable_data<float>()[0] = 7;
  CHECK(same.data<float>()[0] == 7);
}

TEST_CASE("two threads that ask for one promise at once get the same memory, made once") {
  const Tensor values = normal_tensor({4000, 3}, 1);
  for (int i = 0; i < 20; ++i) {
    std::atomic<int64_t> rows = 0;
    const Tensor t = counted(values, rows);
    const float* seen[2] = {};
    std::latch both(2);
    const auto ask = [&](int who) {
      both.arrive_and_wait();
      seen[who] = t.data<float>();
    };
    std::thread other(ask, 1);
    ask(0);
    other.join();
    CHECK(seen[0] == seen[1]);
    CHECK(rows == 4000);
    CHECK(floats(t) == floats(values));
  }
}

TEST_CASE("what a promise is made from must not be overwritten before") {
  Tensor x = randn({1, 4, 4, 16}).to(DType::f32);
  const Variable y = normalized(Variable(x));
  x.mutable_data<float>()[0] = 100;
  CHECK_THROWS_WITH_AS(y.value().data<float>(), doctest::Contains("overwritten"), Error);
}

TEST_CASE("what was made in memory is read from there, whatever became of its own operands") {
  Tensor x0 = normal_tensor({1, 4, 4, 16}, 1);
  const Variable x = normalized(Variable(x0));
  const Variable y = normalized(x);
  REQUIRE(y.value().promise() != nullptr);
  const Floats expected = floats(normalized(Variable(x.value().clone())).value());
  x0.mutable_data<float>()[0] = 100;
  CHECK(floats(y.value()) == expected);
}

TEST_CASE("a long chain of promises is cut, and has the bits of values in memory") {
  constexpr int kLength = 50;
  const Tensor x0 = normal_tensor({1, 4, 5, 12}, 1);
  const Tensor seed = normal_tensor(x0.shape(), 2);
  const Variable x = Variable::leaf(x0);
  Variable y = x;
  for (int i = 0; i < kLength; ++i) {
    y = normalized(y, Activation::hard_swish);
    CHECK(y.value().promise_depth() <= cpu::kMaxPromiseDepth + 1);
  }
  backward(y, seed);

  std::vector<Variable> inputs = {Variable::leaf(x0)};
  std::vector<Variable> outputs;
  for (int i = 0; i < kLength; ++i) {
    outputs.push_back(normalized(inputs.back(), Activation::hard_swish));
    inputs.push_back(Variable::leaf(outputs.back().value().clone()));
  }
  Tensor dy = seed;
  for (int i = kLength - 1; i >= 0; --i) {
    backward(outputs[static_cast<size_t>(i)], dy);
    dy = inputs[static_cast<size_t>(i)].grad().clone();
  }
  CHECK(floats(y.value()) == floats(inputs.back().value()));
  CHECK(floats(x.grad()) == floats(dy));
}

// Of channels that fill vectors alone, with those of other pixels, or not at all.
TEST_CASE("promises have the same bits however their rows are cut, at every level") {
  for (const int64_t c : {3, 9, 19, 24, 132}) {
    CAPTURE(c);
    const Shape image = {2, 8, 9, c};
    const auto of_channels = [c](uint64_t seed) { return normal_tensor({c}, seed); };
    const Tensor x = normal_tensor(image, 1);
    const Tensor dy = normal_tensor(image, 2);
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6,
                                        Activation::hard_swish, Activation::silu})
      for (const bool with_residual : {false, true}) {
        CAPTURE(name_of(activation));
        CAPTURE(with_residual);
        at_every_level([&] {
          const BatchNormOperands n = {
              .x = x,
              .scale = Tensor::full({c}, 3),
              .shift = of_channels(3),
              .mean = of_channels(4),
              .inverse = of_channels(5),
              .residual = with_residual ? normal_tensor(image, 6) : Tensor{},
              .activation = activation,
              .training = true};
          Floats all = checked_cuts(cpu::batch_norm_value(n));
          BatchNormGradients d;
          d.wants_x = true;
          cpu::batch_norm_backward(n, dy, d);
          const Floats dx = checked_cuts(d.x);
          all.insert(all.end(), dx.begin(), dx.end());
          return all;
        });
      }
    at_every_level([&] {
      const Variable low(normal_tensor({2, 4, 5, c}, 7));
      const Variable beside(normal_tensor({2, 8, 9, 7}, 8));
      return checked_cuts(upsample_concat(low, beside).value());
    });
    const int64_t depth = std::min<int64_t>(c, 8);
    at_every_level([&] {
      const Variable narrow(normal_tensor({2, 8, 9, depth}, 9));
      const Variable w(normal_tensor({4 * depth + c, 1, 1, depth}, 10));
      const Variable bias(normal_tensor({4 * depth + c}, 11));
      return checked_cuts(conv2d(narrow, w, bias).value());
    });
  }
}

TEST_CASE("convolutions make what they read once, or 3/2 times where lines share rows") {
  const auto depthwise = [](int64_t n, int64_t side, int64_t c, int64_t k, int64_t stride,
                            int64_t dilation) {
    const int64_t p = dilation * (k - 1) / 2;
    return Case{"depthwise", n, side, side, c, c, k, k, stride, p, p, p, p, dilation, c};
  };
  std::vector<Case> cases(std::begin(kCases), std::end(kCases));
  cases.insert(
      cases.end(),
      {depthwise(8, 7, 32, 5, 1, 1), depthwise(2, 14, 16, 3, 1, 12), depthwise(4, 40, 24, 3, 1, 1),
       depthwise(4, 40, 24, 3, 2, 1), depthwise(8, 14, 24, 5, 1, 1), depthwise(8, 14, 24, 5, 2, 1),
       depthwise(32, 7, 24, 3, 1, 1), depthwise(1, 9, 2000, 3, 1, 1), depthwise(3, 37, 8, 3, 1, 3),
       depthwise(1, 23, 600, 5, 1, 1),
       Case{"few outputs", 8, 14, 14, 32, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
       Case{"1x1, small", 8, 7, 7, 64, 256, 1, 1, 1, 0, 0, 0, 0, 1, 1},
       Case{"1x1, three panels", 8, 28, 28, 16, 192, 1, 1, 1, 0, 0, 0, 0, 1, 1}});
  int tried_forward = 0;
  int tried_gradients = 0;
  for (const Case& c : cases) {
    const cpu::ConvShape s = c.shape();
    CAPTURE(c.what);
    CAPTURE(s.h);
    CAPTURE(s.kh);
    const Tensor x = normal_tensor({s.n, s.h, s.w, s.c_in}, 1);
    const Tensor dy = normal_tensor({s.n, s.ho, s.wo, s.c_out}, 2);
    const Tensor w = normal_tensor({s.c_out, s.kh, s.kw, s.c_in / s.groups}, 3);
    std::atomic<int64_t> made_x = 0;
    std::atomic<int64_t> made_dy = 0;
    if (cpu::reads_lines(s)) {
      ++tried_forward;
      Tensor y(dy.shape());
      cpu::conv2d_forward(s, *counted(x, made_x).promise(), w.data<float>(), nullptr,
                          y.mutable_data<float>());
      CHECK(2 * made_x <= 3 * s.n * s.h * s.w);
      made_x = 0;
    }
    if (cpu::gradients_read_once(s)) {
      ++tried_gradients;
      Tensor dx(x.shape());
      Tensor dw(w.shape());
      cpu::conv2d_gradients(s, *counted(x, made_x).promise(), *counted(dy, made_dy).promise(),
                            w.data<float>(), dx.mutable_data<float>(), dw.mutable_data<float>());
      CHECK(made_x == s.n * s.h * s.w);
      CHECK(2 * made_dy <= 3 * s.n * s.ho * s.wo);
    }
  }
  CHECK(tried_forward > 15);
  CHECK(tried_gradients > 8);
  CHECK(cpu::reads_lines(depthwise(8, 7, 32, 5, 1, 1).shape()));
  CHECK(cpu::reads_lines(depthwise(2, 14, 16, 3, 1, 12).shape()));
  CHECK(cpu::gradients_read_once(depthwise(8, 112, 48, 3, 1, 1).shape()));
  CHECK_FALSE(cpu::gradients_read_once(depthwise(8, 112, 48, 3, 2, 1).shape()));
  CHECK_FALSE(cpu::gradients_read_once(depthwise(8, 7, 32, 5, 1, 1).shape()));
}

TEST_CASE("a convolution with a bias makes its gradient once") {
  const Tensor x = normal_tensor({2, 24, 10, 16}, 1);
  const auto backward_of = [&](const Variable& y) {
    std::atomic<int64_t> rows = 0;
    const Tensor dy = normal_tensor(y.shape(), 4);
    backward(y, counted(dy, rows));
    CHECK(rows == dy.size() / dy.shape()[-1]);
  };
  const auto leaf = [](const Shape& shape, uint64_t seed) {
    return Variable::leaf(normal_tensor(shape, seed));
  };
  const Variable bias = leaf({16}, 3);
  SUBCASE("1x1") {
    backward_of(conv2d(Variable::leaf(x), leaf({16, 1, 1, 16}, 2), bias));
  }
  SUBCASE("depthwise") {
    backward_of(
        conv2d(Variable::leaf(x), leaf({16, 3, 3, 1}, 2), bias, {.padding = 1, .groups = 16}));
  }
  SUBCASE("transposed") {
    backward_of(conv_transpose2d(Variable::leaf(x), leaf({16, 1, 1, 16}, 2), bias));
  }
}
