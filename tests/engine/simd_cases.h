#pragma once

// What the tests of the SIMD kernels share: numbers, every level, and convolutions' shapes.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/core/parallel.h"
#include "engine/core/rng.h"
#include "engine/cpu/conv.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/level.h"
#include "engine/cpu/winograd.h"

namespace decant {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

inline Floats normal(int64_t size, uint64_t seed) {
  const Rng rng(RngKey::of(seed, "simd test"));
  Floats values(static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(rng.normal(i));
  return values;
}

inline Floats nans(int64_t size) {
  Floats values(static_cast<size_t>(size), std::numeric_limits<float>::quiet_NaN());
  return values;
}

inline double relative_error(const Floats& got, const Doubles& expected) {
  REQUIRE(got.size() == expected.size());
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

inline double tolerance(int64_t products) {
  return std::sqrt(static_cast<double>(products)) * std::ldexp(1.0, -24);
}

// Runs f at every supported level with 1, 2 and 7 threads; f returns what must have the same bits
// for all of them.
template <class F>
void at_every_level(const F& f) {
  const cpu::Level before = cpu::level();
  const int threads_before = num_threads();
  for (const cpu::Level level : {cpu::Level::portable, cpu::Level::avx2, cpu::Level::avx512}) {
    if (!cpu::is_supported(level)) continue;
    CAPTURE(cpu::name_of(level));
    cpu::set_level(level);
    set_num_threads(1);
    const Floats one = f();
    for (const int threads : {2, 7}) {
      set_num_threads(threads);
      CHECK(f() == one);
    }
  }
  set_num_threads(threads_before);
  cpu::set_level(before);
}

struct Case {
  const char* what;
  int64_t n, h, w, c_in, c_out, kh, kw, stride, top, bottom, left, right, dilation, groups;
  cpu::ConvShape shape() const {
    const int64_t ho = (h + top + bottom - dilation * (kh - 1) - 1) / stride + 1;
    const int64_t wo = (w + left + right - dilation * (kw - 1) - 1) / stride + 1;
    return {.n = n,
            .h = h,
            .w = w,
            .c_in = c_in,
            .ho = ho,
            .wo = wo,
            .c_out = c_out,
            .kh = kh,
            .kw = kw,
            .stride = stride,
            .dilation = dilation,
            .groups = groups,
            .top = top,
            .left = left};
  }
};

// Calls f(x index, w index, y index) for every product of the convolution.
template <class F>
void for_products(const cpu::ConvShape& s, const F& f) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.ho; ++i)
      for (int64_t j = 0; j < s.wo; ++j)
        for (int64_t r = 0; r < s.kh; ++r)
          for (int64_t t = 0; t < s.kw; ++t) {
            const int64_t h = i * s.stride + r * s.dilation - s.top;
            const int64_t w = j * s.stride + t * s.dilation - s.left;
            if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
            for (int64_t o = 0; o < s.c_out; ++o)
              for (int64_t c = 0; c < cg; ++c)
                f(static_cast<size_t>(((n * s.h + h) * s.w + w) * s.c_in + o / og * cg + c),
                  static_cast<size_t>(((o * s.kh + r) * s.kw + t) * cg + c),
                  static_cast<size_t>(((n * s.ho + i) * s.wo + j) * s.c_out + o));
          }
}

inline const Case kCases[] = {
    {"3x3, one vector", 2, 9, 11, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, whole panel", 2, 8, 8, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, two panels and a remainder", 1, 5, 13, 20, 83, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, three vectors", 1, 7, 17, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, two vectors", 2, 6, 25, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, deep: several parts of a panel", 8, 4, 4, 96, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, one channel in, one out", 2, 9, 10, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, 3 to 8 channels", 1, 9, 10, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"4x4 stride 2, 4 to 4 channels", 2, 14, 76, 4, 4, 4, 4, 2, 1, 1, 1, 1, 1, 1},
    {"1x1, 32 to 4 channels", 1, 5, 39, 32, 4, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"3x3, 6 to 4 channels", 1, 9, 37, 6, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"3x3, 16 to 1 channel", 1, 9, 10, 16, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"stem 7x7 stride 2", 2, 22, 26, 3, 64, 7, 7, 2, 3, 3, 3, 3, 1, 1},
    {"3x3 stride 2, even", 2, 12, 12, 32, 64, 3, 3, 2, 1, 1, 1, 1, 1, 1},
    {"3x3 stride 2, odd", 2, 11, 13, 16, 24, 3, 3, 2, 1, 1, 1, 1, 1, 1},
    {"3x3 stride 3, no padding", 1, 13, 15, 8, 8, 3, 3, 3, 0, 0, 0, 0, 1, 1},
    {"2x2 stride 3: pixels nobody reads", 1, 13, 15, 8, 8, 2, 2, 3, 0, 0, 0, 0, 1, 1},
    {"1x1", 2, 8, 12, 24, 40, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"1x1 along dy, several slots", 2, 40, 41, 20, 88, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"1x1 along x, several slots", 2, 40, 41, 88, 20, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"1x1, two panels", 1, 9, 11, 150, 70, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"1x1 stride 2", 2, 9, 12, 24, 40, 1, 1, 2, 0, 0, 0, 0, 1, 1},
    {"1x1, pixels far apart: slots, parts, panels", 2, 17, 19, 530, 70, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"1x1, pixels far apart, long lines", 1, 2, 200, 270, 130, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"1x1 stride 2, pixels far apart", 2, 9, 12, 140, 40, 1, 1, 2, 0, 0, 0, 0, 1, 1},
    {"2x2 stride 2, groups, pixels far apart", 2, 8, 10, 280, 36, 2, 2, 2, 0, 0, 0, 0, 1, 2},
    {"1x1, five panels in groups", 1, 40, 41, 260, 300, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"3x3 stride 2, few lines in the cache", 2, 14, 14, 512, 16, 3, 3, 2, 1, 1, 1, 1, 1, 1},
    {"1x1 with padding", 1, 5, 6, 8, 8, 1, 1, 1, 2, 1, 0, 3, 1, 1},
    {"asymmetric padding", 2, 8, 9, 8, 16, 3, 3, 2, 0, 1, 0, 1, 1, 1},
    {"asymmetric kernel 1x5", 2, 8, 9, 8, 16, 1, 5, 1, 0, 0, 2, 2, 1, 1},
    {"asymmetric kernel 4x1", 2, 8, 9, 8, 16, 4, 1, 1, 1, 2, 0, 0, 1, 1},
    {"dilation 2", 2, 10, 11, 16, 16, 3, 3, 1, 2, 2, 2, 2, 2, 1},
    {"dilation 3, stride 2", 1, 14, 13, 8, 16, 3, 3, 2, 3, 3, 3, 3, 3, 1},
    {"kernel wider than the image", 1, 3, 4, 8, 8, 5, 5, 1, 3, 3, 3, 3, 1, 1},
    {"groups 4 of 8", 2, 7, 9, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, 4},
    {"groups 2, 12 to 40", 2, 7, 9, 24, 80, 3, 3, 2, 1, 1, 1, 1, 1, 2},
    {"groups 1x1", 2, 7, 9, 24, 12, 1, 1, 1, 0, 0, 0, 0, 1, 3},
    {"depthwise 3x3", 2, 9, 11, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40},
    {"depthwise 3x3 stride 2", 2, 9, 12, 19, 19, 3, 3, 2, 1, 1, 1, 1, 1, 19},
    {"depthwise 5x5", 1, 9, 11, 33, 33, 5, 5, 1, 2, 2, 2, 2, 1, 33},
    {"depthwise 5x5 stride 2, dilation 2", 1, 17, 18, 16, 16, 5, 5, 2, 4, 4, 4, 4, 2, 16},
    {"depthwise, several lines of a slot", 3, 41, 17, 24, 24, 3, 3, 1, 1, 1, 1, 1, 1, 24},
    {"depthwise of one row, stride 3", 2, 1, 14, 9, 9, 3, 3, 3, 1, 1, 1, 1, 1, 9},
    {"depthwise with multiplier 2", 1, 9, 11, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 6},
    {"long lines: pieces of a line", 1, 3, 401, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"many lines: several blocks", 3, 70, 6, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"one pixel", 4, 1, 1, 24, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"few outputs 3x3", 2, 9, 21, 32, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"few outputs, several lines of a block", 3, 70, 9, 32, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"few outputs, several blocks of a slot", 1, 70, 210, 64, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {"few outputs 1x1", 2, 9, 13, 80, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {"few outputs 5x3 stride 2, several panels of a row", 1, 11, 40, 48, 1, 5, 3, 2, 2, 2, 1, 1, 1,
     1},
};

// By how much an algorithm's errors may be larger than a plain sum's.
inline double growth_of(const cpu::ConvShape& s, cpu::ConvPass pass) {
  return cpu::algorithm_of(s, pass) == cpu::ConvAlgorithm::winograd ? cpu::kWinogradKappa : 1;
}

}  // namespace decant
