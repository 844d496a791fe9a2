// One thread per element of what is written, channels side by side. Forward and coverage are bound
// by the arithmetic of positions, about a hundred instructions an element. Backward gathers: each
// pixel of the source looks at every pixel of the result, in order, which no training asks for (a
// teacher's maps are warped, and nothing flows into them).
#include "engine/cuda/kernel.cuh"
#include "engine/ops/affine_warp_kernels.h"

namespace decant::cuda {
namespace {

// A coordinate as the sum of two floats: one would round positions of a large image to a
// ten-thousandth of a pixel.
struct Twofold {
  float high, low;
};

// a + b and what rounding it lost (Knuth).
__device__ Twofold exact_sum(float a, float b) {
  const float sum = a + b;
  const float part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// a u for whole u; the product must round by itself, or its error is another one's.
__device__ Twofold product(Twofold a, float u) {
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

__device__ Spot spot_of(Twofold x) {
  float below = floorf(x.high);
  float beyond = (x.high - below) + x.low;
  if (beyond < 0.0F) {
    below -= 1.0F;
    beyond += 1.0F;
  }
  return {static_cast<int>(below), beyond};
}

// Index i of an endless row that mirrors `extent` pixels, or -1 outside of one that does not.
__device__ int place(int i, int extent, Border border) {
  if (border == Border::constant) return i >= 0 && i < extent ? i : -1;
  if (extent == 1) return 0;
  const int period = 2 * (extent - 1);
  const int phase = ((i % period) + period) % period;
  return phase < extent ? phase : period - phase;
}

struct Size {
  int h, w, c;
};
Size size_of_image(const Tensor& t) {
  const Shape& s = t.shape();
  return {static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3])};
}

struct Place {
  int channel, x, y;
  int64_t image;
};
__device__ Place place_of(int64_t i, Size s) {
  const int64_t pixel = i / s.c;
  const int64_t row = pixel / s.w;
  return {static_cast<int>(i % s.c), static_cast<int>(pixel % s.w), static_cast<int>(row % s.h),
          row / s.h};
}

__global__ void forward_kernel(const float* __restrict__ x, Size source,
                               const WarpRow* __restrict__ maps, Border border, float outside,
                               float* __restrict__ y, Size result, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const Place at = place_of(i, result);
    const Spot across = spot_of(maps[at.image].at(0, at.x, at.y));
    const Spot down = spot_of(maps[at.image].at(1, at.x, at.y));
    float sum = 0.0F;
    for (int row = 0; row < 2; ++row)
      for (int column = 0; column < 2; ++column) {
        const float weight = (row == 0 ? 1.0F - down.beyond : down.beyond) *
                             (column == 0 ? 1.0F - across.beyond : across.beyond);
        const int sy = place(down.below + row, source.h, border);
        const int sx = place(across.below + column, source.w, border);
        const int64_t from = ((at.image * source.h + sy) * source.w + sx) * source.c + at.channel;
        sum += weight * (sy < 0 || sx < 0 ? outside : x[from]);
      }
    y[i] = sum;
  }
}

// The share that a sample at `spot` takes from pixel `i`.
__device__ float share_of(Spot spot, int i, int extent, Border border) {
  float share = 0.0F;
  if (place(spot.below, extent, border) == i) share += 1.0F - spot.beyond;
  if (place(spot.below + 1, extent, border) == i) share += spot.beyond;
  return share;
}

__global__ void backward_kernel(const float* __restrict__ dy, Size result,
                                const WarpRow* __restrict__ maps, Border border,
                                float* __restrict__ dx, Size source, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const Place at = place_of(i, source);
    const float* from = dy + at.image * result.h * result.w * result.c + at.channel;
    float sum = 0.0F;
    for (int v = 0; v < result.h; ++v)
      for (int u = 0; u < result.w; ++u, from += result.c) {
        const float share = share_of(spot_of(maps[at.image].at(1, u, v)), at.y, source.h, border);
        if (share != 0.0F)
          sum +=
              share * share_of(spot_of(maps[at.image].at(0, u, v)), at.x, source.w, border) * *from;
      }
    dx[i] = sum;
  }
}

__device__ bool inside(Twofold x, int extent) {
  constexpr float kSlack = 1e-6F;
  const float after_last = (x.high - static_cast<float>(extent - 1)) + x.low;
  return x.high + x.low >= -kSlack && after_last <= kSlack;
}

__global__ void coverage_kernel(const WarpRow* __restrict__ maps, Size source,
                                float* __restrict__ y, Size result, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const Place at = place_of(i, result);
    const bool covered = inside(maps[at.image].at(0, at.x, at.y), source.w) &&
                         inside(maps[at.image].at(1, at.x, at.y), source.h);
    y[i] = covered ? 1.0F : 0.0F;
  }
}

const WarpRow* rows_of(const WarpMaps& maps) {
  return reinterpret_cast<const WarpRow*>(maps.table.device_data<float>());
}

}  // namespace

void warp_forward(const Tensor& x, const WarpMaps& maps, const WarpOptions& options, Tensor& y) {
  launch("affine_warp", forward_kernel, grid_over(y.size()), x.device_data<float>(),
         size_of_image(x), rows_of(maps), options.border, static_cast<float>(options.value),
         y.mutable_device_data<float>(), size_of_image(y), y.size());
}

void warp_backward(const Tensor& dy, const WarpMaps& maps, const WarpOptions& options, Tensor& dx) {
  launch("affine_warp backward", backward_kernel, grid_over(dx.size()), dy.device_data<float>(),
         size_of_image(dy), rows_of(maps), options.border, dx.mutable_device_data<float>(),
         size_of_image(dx), dx.size());
}

void coverage(const WarpMaps& maps, int64_t source_h, int64_t source_w, Tensor& y) {
  const Size source = {static_cast<int>(source_h), static_cast<int>(source_w), 1};
  launch("warp_coverage", coverage_kernel, grid_over(y.size()), rows_of(maps), source,
         y.mutable_device_data<float>(), size_of_image(y), y.size());
}

}  // namespace decant::cuda
