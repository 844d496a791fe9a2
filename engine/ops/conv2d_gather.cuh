#pragma once

#include <array>
#include <bit>
#include <numeric>

#include "engine/core/precision.h"
#include "engine/core/tensor.h"
#include "engine/cuda/kernel.cuh"
#include "engine/ops/conv2d_cases.h"

// Which pixel of its source a convolution reads for a pixel of its result and a tap of its filter.

namespace decant::cuda {

/// Quotients of 0 <= n < 2^31 without a division.
/// Source: Granlund & Montgomery 1994, "Division by invariant integers using multiplication".
class Divider {
 public:
  Divider() = default;
  explicit Divider(int64_t divisor)
      : divisor_(static_cast<unsigned>(divisor)),
        shift_(static_cast<unsigned>(std::bit_width(divisor_ - 1U))),
        multiplier_(static_cast<unsigned>(
            ((uint64_t{1} << 32U) * ((uint64_t{1} << shift_) - divisor_)) / divisor_ + 1)) {}

  __device__ int quotient(int n) const {
    const auto m = static_cast<unsigned>(n);
    return static_cast<int>((__umulhi(m, multiplier_) + m) >> shift_);
  }
  /// Replaces n by its quotient and returns the remainder.
  __device__ int split(int& n) const {
    const int whole = n;
    n = quotient(n);
    return whole - n * static_cast<int>(divisor_);
  }

 private:
  unsigned divisor_ = 1;
  unsigned shift_ = 0;
  unsigned multiplier_ = 1;
};

/// Along one axis, the result's i-th pixel reads pixel i step + base + q delta of the source
/// through the q-th of `count` taps, which is tap first + q every of the filter.
struct AxisTaps {
  int step, base, delta, count, first, every;
};

/// All rows and columns of y, and all taps.
inline AxisTaps forward_taps(const ConvShape& s, int64_t taps, int64_t offset) {
  return {.step = static_cast<int>(s.stride),
          .base = static_cast<int>(-offset),
          .delta = static_cast<int>(s.dilation),
          .count = static_cast<int>(taps),
          .first = 0,
          .every = 1};
}

/// The rows of dx that are `phase` more than a multiple of the stride: row h = phase + i stride
/// reads rows (h + offset - r dilation) / stride of dy, for those taps r where that is whole.
inline AxisTaps input_gradient_taps(const ConvShape& s, int64_t taps, int64_t offset,
                                    int64_t phase) {
  const int64_t every = s.stride / std::gcd(s.stride, s.dilation);
  for (int64_t r = 0; r < std::min(every, taps); ++r) {
    const int64_t from = phase + offset - r * s.dilation;
    if (from % s.stride != 0) continue;
    return {.step = 1,
            .base = static_cast<int>(from / s.stride),
            .delta = static_cast<int>(-every * s.dilation / s.stride),
            .count = static_cast<int>((taps - r + every - 1) / every),
            .first = static_cast<int>(r),
            .every = static_cast<int>(every)};
  }
  return {.step = 1, .base = 0, .delta = 0, .count = 0, .first = 0, .every = 1};
}

/// The pixels of a result, [n, lines, columns] of them, and what they read.
struct Gather {
  int pixels;
  Divider by_lines, by_columns;
  AxisTaps rows, columns;
  Divider by_tap_columns;
  int source_h, source_w;

  struct Pixel {
    int image, i, j;
  };
  __device__ Pixel pixel(int index) const {
    Pixel p = {.image = index, .i = 0, .j = 0};
    p.j = by_columns.split(p.image);
    p.i = by_lines.split(p.image);
    return p;
  }

  /// The source pixel's number for a tap, or -1 outside of the image.
  __device__ int source(const Pixel& p, int tap_row, int tap_column) const {
    const int h = p.i * rows.step + rows.base + tap_row * rows.delta;
    const int w = p.j * columns.step + columns.base + tap_column * columns.delta;
    const bool inside = h >= 0 && h < source_h && w >= 0 && w < source_w;
    return inside ? (p.image * source_h + h) * source_w + w : -1;
  }
};

inline Gather gather(int64_t n, int64_t lines, int64_t columns, const AxisTaps& row_taps,
                     const AxisTaps& column_taps, int64_t source_h, int64_t source_w) {
  return {.pixels = static_cast<int>(n * lines * columns),
          .by_lines = Divider(lines),
          .by_columns = Divider(columns),
          .rows = row_taps,
          .columns = column_taps,
          .by_tap_columns = Divider(std::max(1, column_taps.count)),
          .source_h = static_cast<int>(source_h),
          .source_w = static_cast<int>(source_w)};
}

/// For the steps [first, first + count) of `steps` that part `part` of `parts` adds up.
struct Part {
  int first, count;
};
__device__ inline Part part_of(int steps, int parts, int part) {
  const int each = (steps + parts - 1) / parts;
  const int first = part * each < steps ? part * each : steps;
  return {.first = first, .count = steps - first < each ? steps - first : each};
}

/// y = partial[0] + partial[1] + .. + bias[.. mod channels], each of y's size; bias may be
/// undefined.
void sum_parts(const char* op, const Tensor& partial, const Tensor& bias, Tensor& y);

/// Blocks that keep the largest card busy. A constant, so that no sum depends on the card.
inline constexpr int64_t kBlocksToFill = 132;

/// How many parts to cut a sum of `steps` steps into, where `blocks` blocks would each add up all.
int parts_for(int64_t blocks, int64_t steps);

/// Calls f with the mode of precision() as a constant: f(Mode<Precision::tf32>()). What is stored
/// as bf16 needs no rounding, and has but one mode.
template <Precision kPrecision>
struct Mode {};
template <class T, class F>
void in_mode(F&& f) {
  if constexpr (std::is_same_v<T, bf16>) {
    f(Mode<Precision::bf16>());
  } else {
    switch (precision()) {
      case Precision::f32:
        return f(Mode<Precision::f32>());
      case Precision::tf32:
        return f(Mode<Precision::tf32>());
      case Precision::bf16:
        return f(Mode<Precision::bf16>());
    }
  }
}

}  // namespace decant::cuda
