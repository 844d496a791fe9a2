// One thread per element of what is written, channels side by side. Forward and coverage are bound
// by the arithmetic of positions, about a hundred instructions an element. Backward gathers: each
// pixel of the source looks at every pixel of the result, in order, which no training asks for (a
// teacher's maps are warped, and nothing flows into them).
#include "engine/cuda/kernel.cuh"
#include "engine/ops/affine_position.cuh"
#include "engine/ops/affine_warp_kernels.h"

namespace decant::cuda {
namespace {

// Index i of an endless row that mirrors `extent` pixels, or -1 outside of one that does not.
__device__ int place(int i, int extent, Border border) {
  if (border == Border::constant) return i >= 0 && i < extent ? i : -1;
  return mirrored(i, extent);
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
