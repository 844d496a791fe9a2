#pragma once

#include <cuda_runtime.h>

namespace decant::cuda {

// A coordinate as the sum of two floats: one would round positions of a large image to a
// ten-thousandth of a pixel.
struct Twofold {
  float high, low;
};

// a + b and what rounding it lost (Knuth).
__device__ inline Twofold exact_sum(float a, float b) {
  const float sum = a + b;
  const float part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// a u for whole u; the product must round by itself, or its error is another one's.
__device__ inline Twofold product(Twofold a, float u) {
  const float high = __fmul_rn(a.high, u);
  return {high, fmaf(a.high, u, -high) + a.low * u};
}

// A row of warp_table(): A and t of x -> A x + t.
struct WarpRow {
  Twofold m[6];

  // Coordinate `axis` (0: x, 1: y) of the source where result pixel (u, v) samples. Clamped far
  // beyond any image, where positions would not fit an integer.
  __device__ Twofold at(int axis, int u, int v) const {
    constexpr float kFar = 1e9F;
    const Twofold* row = m + 3 * axis;
    const Twofold x = product(row[0], static_cast<float>(u));
    const Twofold y = product(row[1], static_cast<float>(v));
    const Twofold linear = exact_sum(x.high, y.high);
    const Twofold all = exact_sum(linear.high, row[2].high);
    const float low = all.low + linear.low + x.low + y.low + row[2].low;
    const Twofold result = exact_sum(all.high, low);
    if (fabsf(result.high) < kFar) return result;
    return {copysignf(kFar, result.high), 0.0F};
  }
};

// The lower of the two lattice points around a coordinate, and how far it lies beyond.
struct Spot {
  int below;
  float beyond;
};

__device__ inline Spot spot_of(Twofold x) {
  float below = floorf(x.high);
  float beyond = (x.high - below) + x.low;
  if (beyond < 0.0F) {
    below -= 1.0F;
    beyond += 1.0F;
  }
  return {static_cast<int>(below), beyond};
}

/// floor(x + 1/2), by the whole of x.
__device__ inline int nearest_to(Twofold x) {
  const Twofold half_more = exact_sum(x.high, 0.5F);
  return spot_of(exact_sum(half_more.high, half_more.low + x.low)).below;
}

/// Index i of an endless row that mirrors `extent` pixels about its first and last centre.
__device__ inline int mirrored(int i, int extent) {
  if (extent == 1) return 0;
  const int period = 2 * (extent - 1);
  const int phase = ((i % period) + period) % period;
  return phase < extent ? phase : period - phase;
}

}  // namespace decant::cuda
