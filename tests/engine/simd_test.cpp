// The SIMD kernels' drivers against plain float64 loops, at every level this processor can run.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/core/error.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/moments.h"
#include "engine/cpu/winograd.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/pointwise_ops.h"
#include "engine/ops/resize.h"
#include "tests/engine/simd_cases.h"

using namespace decant;

// Runs the three passes of an algorithm at every level against float64 loops; growth(s, pass) is
// how many times larger its errors may be than a plain sum's.
template <class Growth, class Forward, class InputGradient, class WeightGradient>
void check_passes(const Case& c, const Growth& growth, const Forward& forward,
                  const InputGradient& input_gradient, const WeightGradient& weight_gradient) {
  CAPTURE(c.what);
  const cpu::ConvShape s = c.shape();
  const int64_t cg = s.c_in / s.groups;
  const Floats x = normal(s.n * s.h * s.w * s.c_in, 1);
  const Floats w = normal(s.c_out * s.kh * s.kw * cg, 2);
  const Floats dy = normal(s.n * s.ho * s.wo * s.c_out, 3);
  const Floats bias = normal(s.c_out, 4);
  const Floats input_bias = normal(s.c_in, 5);
  Doubles y(dy.size());
  Doubles dx(x.size());
  Doubles dw(w.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = bias[i % bias.size()];
  for (size_t i = 0; i < dx.size(); ++i) dx[i] = input_bias[i % input_bias.size()];
  for_products(s, [&](size_t xi, size_t wi, size_t yi) {
    y[yi] += static_cast<double>(x[xi]) * w[wi];
    dx[xi] += static_cast<double>(dy[yi]) * w[wi];
    dw[wi] += static_cast<double>(dy[yi]) * x[xi];
  });
  const int64_t taps = s.kh * s.kw;

  at_every_level([&] {
    Floats got = nans(static_cast<int64_t>(y.size()));
    forward(s, x.data(), w.data(), bias.data(), got.data());
    CHECK(relative_error(got, y) < growth(s, cpu::ConvPass::forward) * tolerance(taps * cg + 1));
    return got;
  });
  at_every_level([&] {
    Floats got = nans(static_cast<int64_t>(dx.size()));
    input_gradient(s, dy.data(), w.data(), input_bias.data(), got.data());
    CHECK(relative_error(got, dx) <
          growth(s, cpu::ConvPass::input_gradient) * tolerance(taps * s.c_out / s.groups + 1));
    return got;
  });
  at_every_level([&] {
    Floats got = nans(static_cast<int64_t>(dw.size()));
    weight_gradient(s, x.data(), dy.data(), got.data());
    CHECK(relative_error(got, dw) <
          growth(s, cpu::ConvPass::weight_gradient) * tolerance(s.n * s.ho * s.wo));
    return got;
  });
}

TEST_CASE("convolution and its gradients agree with float64 loops at every level") {
  for (const Case& c : kCases)
    check_passes(c, growth_of, cpu::conv2d_forward, cpu::conv2d_input_gradient,
                 cpu::conv2d_weight_gradient);
}

TEST_CASE("exact convolutions sum directly at every level") {
  cpu::set_exact_convolutions(true);
  for (const Case& c : kCases)
    check_passes(
        c, [](const auto&, auto) { return 1; }, cpu::conv2d_forward, cpu::conv2d_input_gradient,
        cpu::conv2d_weight_gradient);
  cpu::set_exact_convolutions(false);
}

TEST_CASE("the shape chooses the algorithm") {
  using cpu::ConvAlgorithm;
  using cpu::ConvPass;
  const Case large = {"", 8, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Case strided = {"", 8, 32, 32, 64, 64, 3, 3, 2, 1, 1, 1, 1, 1, 1};
  const Case pointwise = {"", 8, 32, 32, 64, 64, 1, 1, 1, 0, 0, 0, 0, 1, 1};
  const Case one_tile = {"", 1, 1, 1, 512, 512, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Case depthwise = {"", 8, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64};
  const Case head = {"", 8, 32, 32, 64, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  for (const ConvPass pass :
       {ConvPass::forward, ConvPass::input_gradient, ConvPass::weight_gradient}) {
    CHECK(cpu::algorithm_of(large.shape(), pass) == ConvAlgorithm::winograd);
    CHECK(cpu::algorithm_of(strided.shape(), pass) == ConvAlgorithm::direct);
    CHECK(cpu::algorithm_of(pointwise.shape(), pass) == ConvAlgorithm::direct);
    CHECK(cpu::algorithm_of(one_tile.shape(), pass) == ConvAlgorithm::direct);
    CHECK(cpu::algorithm_of(depthwise.shape(), pass) == ConvAlgorithm::depthwise);
    cpu::set_exact_convolutions(true);
    CHECK(cpu::algorithm_of(large.shape(), pass) == ConvAlgorithm::direct);
    cpu::set_exact_convolutions(false);
  }
  CHECK(cpu::algorithm_of(head.shape(), ConvPass::forward) == ConvAlgorithm::few_outputs);
  CHECK(cpu::algorithm_of(head.shape(), ConvPass::input_gradient) != ConvAlgorithm::few_outputs);
}

TEST_CASE("what a convolution makes of an image does not depend on the others of its batch") {
  const cpu::ConvShape eight = Case{"", 8, 4, 4, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1}.shape();
  cpu::ConvShape one = eight;
  one.n = 1;
  const Floats x = normal(eight.n * eight.h * eight.w * eight.c_in, 1);
  const Floats w = normal(eight.c_out * 9 * eight.c_in, 2);
  Floats together(x.size());
  Floats alone(x.size());
  cpu::conv2d_forward(eight, x.data(), w.data(), nullptr, together.data());
  const size_t image = x.size() / 8;
  for (size_t i = 0; i < 8; ++i)
    cpu::conv2d_forward(one, x.data() + i * image, w.data(), nullptr, alone.data() + i * image);
  CHECK(cpu::algorithm_of(eight, cpu::ConvPass::forward) == cpu::ConvAlgorithm::winograd);
  CHECK(together == alone);
}

const Case kWinogradCases[] = {
    {"whole tiles", 2, 8, 8, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"tiles that hang over", 2, 9, 11, 16, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"channels that are no whole vectors", 1, 13, 6, 20, 83, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"one channel", 1, 7, 9, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"several blocks of tiles, several panels", 2, 31, 33, 24, 136, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"no padding", 2, 10, 12, 16, 16, 3, 3, 1, 0, 0, 0, 0, 1, 1},
    {"asymmetric padding, more than the kernel", 2, 6, 7, 8, 16, 3, 3, 1, 2, 4, 0, 1, 1, 1},
    {"one pixel", 4, 1, 1, 24, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"several chunks of tiles", 1, 64, 260, 64, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},
};

TEST_CASE("Winograd's convolution and gradients agree with float64 loops at every level") {
  for (const Case& c : kWinogradCases) {
    REQUIRE(cpu::has_winograd(c.shape()));
    check_passes(
        c, [](const auto&, auto) { return cpu::kWinogradKappa; }, cpu::winograd_forward,
        cpu::winograd_input_gradient, cpu::winograd_weight_gradient);
  }
}

TEST_CASE("sgemm agrees with float64 loops at every level") {
  struct Size {
    int64_t m, n, k;
  };
  const Size sizes[] = {{1, 1, 1},    {5, 3, 7},     {6, 64, 9},    {13, 100, 33}, {97, 48, 300},
                        {200, 17, 1}, {8, 130, 700}, {100, 16, 40}, {64, 64, 64},  {3, 1, 1000}};
  for (const Size& size : sizes) {
    for (const int mode : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
      const auto [m, n, k] = size;
      const Floats a = normal(m * k, 1);
      const Floats b = normal(k * n, 2);
      const Floats bias = normal(n, 3);
      const Floats c = normal(m * n, 4);
      cpu::Gemm g{.m = m, .n = n, .k = k};
      g.transpose_a = (mode & 1) != 0;
      g.transpose_b = (mode & 2) != 0;
      g.accumulate = mode / 4 == 1;
      if (mode / 4 == 2) g.bias = bias.data();
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      CAPTURE(mode);
      Doubles expected(c.size());
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = g.accumulate ? c[static_cast<size_t>(i * n + j)] : 0;
          if (g.bias != nullptr) sum += bias[static_cast<size_t>(j)];
          for (int64_t l = 0; l < k; ++l) {
            const auto ai = static_cast<size_t>(g.transpose_a ? l * m + i : i * k + l);
            const auto bi = static_cast<size_t>(g.transpose_b ? j * k + l : l * n + j);
            sum += static_cast<double>(a[ai]) * b[bi];
          }
          expected[static_cast<size_t>(i * n + j)] = sum;
        }
      }
      at_every_level([&] {
        Floats got = g.accumulate ? c : nans(m * n);
        cpu::sgemm(g, a.data(), b.data(), got.data());
        CHECK(relative_error(got, expected) < tolerance(k + 1));
        return got;
      });
    }
  }
}

// 19 channels of pixels that can be taken together, and of one pixel more: whole vectors alone, and
// whole vectors and a rest, at every level.
TEST_CASE("the moments of channels of one value are that value and 0 at every level") {
  constexpr int64_t kChannels = 19;
  for (const int64_t pixels : {8 * 64 * 64, 8 * 64 * 64 + 1}) {
    const Floats x(static_cast<size_t>(pixels * kChannels), 1000.1F);
    at_every_level([&] {
      const int64_t together = cpu::pixels_together(pixels, kChannels);
      CHECK((together > 1) == (pixels % 2 == 0));
      // The first sum of a tile is off by at most `off` per pixel; of its square, which is taken
      // away, the roundings of as many additions stay.
      const auto n = static_cast<double>(cpu::pixels_per_tile(together * kChannels));
      const double off = n / 2 * 0x1p-24 * 1000.1;
      const double allowed = off * off * n * 0x1p-24;
      Doubles mean(kChannels);
      Doubles variance(kChannels);
      cpu::channel_moments(x.data(), pixels, kChannels, mean.data(), variance.data());
      CHECK(mean == Doubles(kChannels, 1000.1F));
      for (const double v : variance) CHECK(v <= allowed);
      return Floats(mean.begin(), mean.end());
    });
  }
}

// The exponential inside is the kernels' own. Eight roundings: two of z, which weigh as the slope
// there, three of exp(-z), three of what is made of it.
TEST_CASE("silu and its slope agree with the standard library from -120 to 120 at every level") {
  constexpr int64_t kChannels = 29;  // a vector, half of one, and single ones
  constexpr double kEps = 0x1p-20;
  Tensor z({41, kChannels}, DType::f64);
  for (int64_t i = 0; i < z.size(); ++i)
    z.mutable_data<double>()[i] = static_cast<double>(static_cast<float>(
        240.0 * static_cast<double>(i) / static_cast<double>(z.size() - 1) - 120));
  const Variable one(Tensor::full({kChannels}, 1));
  const Variable zero(Tensor::full({kChannels}, 0));
  at_every_level([&] {
    Tensor mean = Tensor::zeros({kChannels});
    Tensor var = Tensor::full({kChannels}, 1 - kEps);
    const Variable x = Variable::leaf(z.to(DType::f32));
    const Variable y =
        batch_norm(x, one, zero, mean, var, {.eps = kEps, .activation = Activation::silu});
    backward(y, Tensor::full(y.shape(), 1));
    for (int64_t i = 0; i < z.size(); ++i) {
      const double v = z.data<double>()[i];
      CAPTURE(v);
      const double value = pointwise::Silu::f(v);
      const double slope = pointwise::Silu::df(v);
      const double allowed = 8 * 0x1p-24 * (std::abs(value) + std::abs(v * slope)) + 1e-35;
      CHECK(std::abs(y.value().data<float>()[i] - value) <= allowed);
      CHECK(std::abs(x.grad().data<float>()[i] - slope) <= 8 * 0x1p-24 * (1 + std::abs(slope)));
    }
    const auto values = y.value().values<float>();
    return Floats(values.begin(), values.end());
  });
}

// In float32, as people run it: what is made again has the bits of what was there.
TEST_CASE("gradients have the same bits with and without recipes") {
  const Tensor values = randn({2, 5, 6, 24}).to(DType::f32);
  const auto gradient = [&](bool recipes) {
    const Variable x = Variable::leaf(values);
    const Variable scale = Variable::leaf(uniform({24}, 0.5, 2).to(DType::f32));
    const Variable shift = Variable::leaf(randn({24}, 2).to(DType::f32));
    const Variable w = Variable::leaf(randn({8, 3, 3, 24}, 3).to(DType::f32));
    Tensor running_mean = Tensor::zeros({24});
    Tensor running_var = Tensor::full({24}, 1);
    Variable y =
        upsample_concat(batch_norm(x, scale, shift, running_mean, running_var,
                                   {.training = true, .activation = Activation::hard_swish}),
                        Variable());
    if (!recipes) y = y.with_recipe([kept = y.value()] { return kept; });
    const Variable z = conv2d(y, w, Variable(), {.padding = 1});
    CHECK(y.value().sole_owner() == recipes);
    backward(z, randn(z.shape(), 4).to(DType::f32));
    const auto dw = w.grad().values<float>();
    return Floats(dw.begin(), dw.end());
  };
  CHECK(gradient(true) == gradient(false));
}

TEST_CASE("a level that the processor cannot run is refused") {
  CHECK(cpu::is_supported(cpu::Level::portable));
  CHECK(cpu::is_supported(cpu::level()));
  for (const cpu::Level level : {cpu::Level::avx2, cpu::Level::avx512}) {
    if (cpu::is_supported(level)) continue;
    CHECK_THROWS_AS(cpu::set_level(level), Error);
  }
}
