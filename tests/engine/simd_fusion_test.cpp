// What runs between and beside the products, at every level this processor can run: promises that
// convolutions read piece by piece, prepared convolutions, joined maps, the cross-entropy.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/check/op_row.h"
#include "engine/core/error.h"
#include "engine/cpu/conv.h"
#include "engine/cpu/prepared_conv.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/resize.h"
#include "tests/engine/simd_cases.h"

using namespace decant;

namespace {

double relu6(double z) {
  return std::clamp(z, 0.0, 6.0);
}

// Pixels of `values`, wherever they are asked for.
RowMaker rows_of(const Floats& values, int64_t channels) {
  return [&values, channels](int64_t begin, int64_t end, float* out) {
    std::copy(values.begin() + begin * channels, values.begin() + end * channels, out);
  };
}

Doubles convolved(const cpu::ConvShape& s, const Doubles& x, const Floats& w, const Floats& bias) {
  Doubles y(static_cast<size_t>(s.n * s.ho * s.wo * s.c_out));
  for (size_t i = 0; i < y.size(); ++i) y[i] = bias[i % bias.size()];
  for_products(s, [&](size_t xi, size_t wi, size_t yi) { y[yi] += x[xi] * w[wi]; });
  return y;
}

// The pixel of the low map that the enlarged one repeats at `pixel` of s, counted through all
// images.
int64_t low_pixel(const cpu::ConvShape& s, const cpu::Upsampled& low, int64_t pixel) {
  const int64_t row = pixel / s.w;
  return (row / s.h * low.h + row % s.h * low.h / s.h) * low.w + pixel % s.w * low.w / s.w;
}

// The low map enlarged to the size of s, beside the skip.
Doubles joined(const cpu::ConvShape& s, const cpu::Upsampled& low, const Floats& low_map,
               const Floats& skip) {
  const int64_t skip_channels = s.c_in - low.c;
  Doubles x;
  for (int64_t pixel = 0; pixel < s.n * s.h * s.w; ++pixel) {
    const auto from =
        low.c > 0 ? low_map.begin() + low_pixel(s, low, pixel) * low.c : low_map.begin();
    x.insert(x.end(), from, from + low.c);
    const auto beside = skip.begin() + pixel * skip_channels;
    x.insert(x.end(), beside, beside + skip_channels);
  }
  return x;
}

}  // namespace

// As many roundings as products, wherever the operands come from: so they may not change a bit.
TEST_CASE("convolutions have the same bits of promises and of what those promise, at every level") {
  int tried_forward = 0;
  int tried_gradients = 0;
  for (const Case& c : kCases) {
    const cpu::ConvShape s = c.shape();
    CAPTURE(c.what);
    const Floats x = normal(s.n * s.h * s.w * s.c_in, 1);
    const Floats w = normal(s.c_out * s.kh * s.kw * s.c_in / s.groups, 2);
    const Floats dy = normal(s.n * s.ho * s.wo * s.c_out, 3);
    const RowMaker make_x = rows_of(x, s.c_in);
    const RowMaker make_dy = rows_of(dy, s.c_out);
    tried_forward += static_cast<int>(cpu::reads_lines(s));
    tried_gradients += static_cast<int>(cpu::gradients_read_once(s));
    at_every_level([&] {
      Floats y = nans(std::ssize(dy));
      Floats dx = nans(std::ssize(x));
      Floats dw = nans(std::ssize(w));
      if (cpu::reads_lines(s)) {
        cpu::conv2d_forward(s, x.data(), w.data(), nullptr, y.data());
        Floats promised = nans(std::ssize(dy));
        cpu::conv2d_forward(s, make_x, w.data(), nullptr, promised.data());
        CHECK(promised == y);
      }
      if (cpu::gradients_in_one_pass(s)) {
        cpu::conv2d_gradients(s, x.data(), dy.data(), w.data(), dx.data(), dw.data());
        Floats alone = nans(std::ssize(w));
        cpu::conv2d_gradients(s, x.data(), dy.data(), nullptr, nullptr, alone.data());
        CHECK(alone == dw);
        Floats dx_alone = nans(std::ssize(x));
        cpu::conv2d_gradients(s, x.data(), dy.data(), w.data(), dx_alone.data(), nullptr);
        CHECK(dx_alone == dx);
      }
      if (cpu::gradients_read_once(s)) {
        Floats promised_dx = nans(std::ssize(x));
        Floats promised_dw = nans(std::ssize(w));
        cpu::conv2d_gradients(s, make_x, make_dy, w.data(), promised_dx.data(), promised_dw.data());
        CHECK(promised_dx == dx);
        CHECK(promised_dw == dw);
      }
      Floats all = y;
      all.insert(all.end(), dx.begin(), dx.end());
      all.insert(all.end(), dw.begin(), dw.end());
      for (float& v : all) v = std::isnan(v) ? 0 : v;  // of what does not read lines
      return all;
    });
  }
  CHECK(tried_forward > 8);
  CHECK(tried_gradients > 5);
}

TEST_CASE("both gradients of one pass agree with float64 loops at every level") {
  int tried = 0;
  for (const Case& c : kCases) {
    const cpu::ConvShape s = c.shape();
    if (!cpu::gradients_in_one_pass(s)) continue;
    ++tried;
    CAPTURE(c.what);
    const Floats x = normal(s.n * s.h * s.w * s.c_in, 1);
    const Floats w = normal(s.c_out * s.kh * s.kw * s.c_in / s.groups, 2);
    const Floats dy = normal(s.n * s.ho * s.wo * s.c_out, 3);
    Doubles dx(x.size());
    Doubles dw(w.size());
    for_products(s, [&](size_t xi, size_t wi, size_t yi) {
      dx[xi] += static_cast<double>(dy[yi]) * w[wi];
      dw[wi] += static_cast<double>(dy[yi]) * x[xi];
    });
    at_every_level([&] {
      Floats got = nans(std::ssize(dx));
      Floats got_dw = nans(std::ssize(dw));
      cpu::conv2d_gradients(s, x.data(), dy.data(), w.data(), got.data(), got_dw.data());
      CHECK(relative_error(got, dx) < tolerance(s.kh * s.kw * s.c_out / s.groups + 1));
      CHECK(relative_error(got_dw, dw) < tolerance(s.n * s.ho * s.wo));
      got.insert(got.end(), got_dw.begin(), got_dw.end());
      return got;
    });
  }
  CHECK(tried > 10);
}

TEST_CASE("prepared convolutions add a residual and apply an activation at every level") {
  for (const Case& c : kCases) {
    const cpu::ConvShape s = c.shape();
    CAPTURE(c.what);
    const Floats x = normal(s.n * s.h * s.w * s.c_in, 1);
    const Floats w = normal(s.c_out * s.kh * s.kw * s.c_in / s.groups, 2);
    const Floats bias = normal(s.c_out, 3);
    const Floats residual = normal(s.n * s.ho * s.wo * s.c_out, 4);
    Doubles y = convolved(s, Doubles(x.begin(), x.end()), w, bias);
    for (size_t i = 0; i < y.size(); ++i) y[i] = relu6(y[i] + residual[i]);
    at_every_level([&] {
      const auto conv = cpu::prepare_conv2d(s, {w.data(), bias.data(), cpu::PointwiseKind::relu6});
      Floats got = nans(std::ssize(residual));
      conv->run(s.n, {x.data(), residual.data()}, got.data());
      // Clamping shrinks what the error is relative to: by less than two where half is kept.
      CHECK(relative_error(got, y) < 2 * growth_of(s, cpu::ConvPass::forward) *
                                         tolerance(s.kh * s.kw * s.c_in / s.groups + 2));
      return got;
    });
  }
}

TEST_CASE("a prepared separable convolution, of a joined map too, agrees with float64 loops") {
  struct Separable {
    const char* what;
    int64_t h, w, c;  // of the low map; c 0: there is none
    Case depthwise;
    int64_t c_out;
  };
  const Separable cases[] = {
      {"alone", 0, 0, 0, {"", 2, 9, 11, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40}, 24},
      {"stride 2, odd channels", 0, 0, 0, {"", 1, 9, 12, 19, 19, 5, 5, 2, 2, 2, 2, 2, 1, 19}, 83},
      {"twice as large", 5, 6, 32, {"", 2, 10, 12, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 48}, 16},
      {"odd sizes", 3, 4, 7, {"", 2, 5, 9, 12, 12, 3, 3, 1, 1, 1, 1, 1, 1, 12}, 5},
  };
  for (const Separable& j : cases) {
    CAPTURE(j.what);
    const cpu::ConvShape s = j.depthwise.shape();
    const int64_t skip_c = s.c_in - j.c;
    const Floats low = normal(s.n * j.h * j.w * j.c, 1);
    const Floats skip = normal(s.n * s.h * s.w * skip_c, 2);
    const Doubles x = joined(s, {j.h, j.w, j.c}, low, skip);
    const Floats w = normal(s.c_in * s.kh * s.kw, 3);
    const Floats bias = normal(s.c_in, 4);
    const Floats mixing = normal(j.c_out * s.c_in, 5);
    const Floats mixing_bias = normal(j.c_out, 6);
    Doubles between = convolved(s, x, w, bias);
    for (double& v : between) v = relu6(v);
    cpu::ConvShape pointwise =
        Case{"", s.n, s.ho, s.wo, s.c_in, j.c_out, 1, 1, 1, 0, 0, 0, 0, 1, 1}.shape();
    Doubles y = convolved(pointwise, between, mixing, mixing_bias);
    const Floats residual = normal(std::ssize(y), 7);
    for (size_t i = 0; i < y.size(); ++i) y[i] = std::max(0.0, y[i] + residual[i]);
    at_every_level([&] {
      const auto conv = cpu::prepare_separable(
          s, {w.data(), bias.data(), cpu::PointwiseKind::relu6}, j.c_out,
          {mixing.data(), mixing_bias.data(), cpu::PointwiseKind::relu}, {j.h, j.w, j.c});
      Floats got = nans(std::ssize(y));
      conv->run(s.n, {j.c > 0 ? low.data() : skip.data(), residual.data(), skip.data()},
                got.data());
      CHECK(relative_error(got, y) < 2 * tolerance(s.kh * s.kw + s.c_in + 3));
      return got;
    });
  }
}

TEST_CASE("joined maps, and the gradients of both sides, agree with float64 loops at every level") {
  struct Sizes {
    const char* what;
    cpu::Upsampled low;
    int64_t n, h, w, skip_channels;
  };
  const Sizes cases[] = {
      {"twice as large", {5, 6, 32}, 2, 10, 12, 16},
      {"odd sizes", {3, 4, 7}, 2, 5, 9, 5},
      {"one channel beside", {4, 4, 24}, 1, 8, 8, 1},
  };
  for (const Sizes& c : cases) {
    CAPTURE(c.what);
    cpu::ConvShape s{};
    s.n = c.n;
    s.h = c.h;
    s.w = c.w;
    s.c_in = c.low.c + c.skip_channels;
    const Floats low = normal(s.n * c.low.h * c.low.w * c.low.c, 1);
    const Floats skip = normal(s.n * s.h * s.w * c.skip_channels, 2);
    const Doubles x = joined(s, c.low, low, skip);
    const Floats dy = normal(std::ssize(x), 8);
    Doubles dlow(low.size());  // sums up what was repeated
    Floats dskip;
    for (size_t i = 0; i < x.size(); ++i) {
      const int64_t channel = static_cast<int64_t>(i) % s.c_in;
      const int64_t pixel = static_cast<int64_t>(i) / s.c_in;
      if (channel < c.low.c)
        dlow[static_cast<size_t>(low_pixel(s, c.low, pixel) * c.low.c + channel)] += dy[i];
      else
        dskip.push_back(dy[i]);
    }
    at_every_level([&] {
      const auto leaf = [](const Floats& values, const Shape& shape) {
        return Variable::leaf(Tensor::of<float>(shape, values));
      };
      const auto floats = [](const Tensor& t) {
        return Floats(t.values<float>().begin(), t.values<float>().end());
      };
      const Variable low_leaf = leaf(low, {s.n, c.low.h, c.low.w, c.low.c});
      const Variable skip_leaf = leaf(skip, {s.n, s.h, s.w, c.skip_channels});
      const Variable y = upsample_concat(low_leaf, skip_leaf);
      const Floats values = floats(y.value());
      CHECK(Doubles(values.begin(), values.end()) == x);
      backward(y, Tensor::of<float>(y.shape(), dy));
      CHECK(floats(skip_leaf.grad()) == dskip);
      const Floats got = floats(low_leaf.grad());
      CHECK(relative_error(got, dlow) < tolerance(9));
      return got;
    });
  }
}

// Each term alone, by sums of one element: off by a dozen roundings of itself, however small it is.
TEST_CASE("the cross-entropy of a logit is right to a dozen roundings at every level") {
  constexpr double kAllowed = 12 * 0x1p-24;
  Floats z;
  for (double v = -87; v <= 87; v += 0.37) z.push_back(static_cast<float>(v));
  for (const float v : {0.0F, -0.0F, 1e-20F, -1e-20F, 3e38F, -3e38F, 1e-3F, -1e-3F}) z.push_back(v);
  for (const float target : {0.0F, 1.0F, 0.25F}) {
    CAPTURE(target);
    const Floats y(z.size(), target);
    at_every_level([&] {
      Floats dz = nans(std::ssize(z));
      cpu::kernels().bce_gradient(
          {.count = std::ssize(z), .z = z.data(), .y = y.data(), .factor = 1, .dz = dz.data()});
      double total = 0;
      for (size_t i = 0; i < z.size(); ++i) {
        CAPTURE(z[i]);
        const double v = z[i];
        const double t = target;
        const double e = std::exp(-std::abs(v));
        const double loss = std::log1p(e) + (v > 0 ? (1 - t) * v : -t * v);
        const double slope = (v > 0 ? (1 - t) - t * e : (1 - t) * e - t) / (1 + e);
        const double got = cpu::kernels().bce_sum({.count = 1, .z = &z[i], .y = &y[i]});
        // Below float32's smallest normal number nothing is promised but that.
        CHECK(std::abs(got - loss) <= kAllowed * loss + 0x1p-126);
        // Two terms that may cancel where the target lies between.
        const double size = (v > 0 ? (1 - t) + t * e : (1 - t) * e + t) / (1 + e);
        CHECK(std::abs(dz[i] - slope) <= kAllowed * size + 0x1p-126);
        total += loss;
      }
      const double sum =
          cpu::kernels().bce_sum({.count = std::ssize(z), .z = z.data(), .y = y.data()});
      CHECK(std::abs(sum - total) <= kAllowed * total);
      return dz;
    });
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float target = 1;
  at_every_level([&] {
    float dz = 0;
    CHECK(std::isnan(cpu::kernels().bce_sum({.count = 1, .z = &nan, .y = &target})));
    cpu::kernels().bce_gradient({.count = 1, .z = &nan, .y = &target, .factor = 1, .dz = &dz});
    CHECK(std::isnan(dz));
    return Floats{};
  });
}
