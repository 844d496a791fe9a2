// One thread per element in the order of the target, or per 16 bytes that are neighbours on both
// sides.
// Where the two sides disagree about which axis is the fastest, a block moves a tile of 32 x 32
// through shared memory, so that it reads and writes neighbours. Bound by the bytes that are
// copied.
#include <numeric>

#include "engine/cuda/kernel.cuh"
#include "engine/cuda/vectors.cuh"
#include "engine/ops/pair_walk.h"
#include "engine/ops/shape_kernels.h"

namespace decant::cuda {
namespace {

template <int kWidth, class T>
__global__ void copy_kernel(const T* __restrict__ from, PairWalk walk, T* __restrict__ to,
                            int64_t n) {
  for (int64_t i = global_thread() * kWidth; i < n; i += all_threads() * kWidth) {
    const PairWalk::Offsets at = walk.at(i);
    move<kWidth>(from + at.first, to + at.second);
  }
}

constexpr int kTile = 32;

// Neighbours along `across` are neighbours in `from`, along `along` in `to`.
struct Transpose {
  PairWalk::Axis along, across;
  PairWalk others;
  int64_t tiles_along, tiles_across;
};

template <class T>
__global__ void transpose_kernel(const T* __restrict__ from, Transpose t, T* __restrict__ to) {
  SHARED(tile, T[kTile][kTile + 1]);  // a column lies in as many banks as a row
  const int64_t block = blockIdx.x;
  const int64_t first_along = block % t.tiles_along * kTile;
  const int64_t first_across = block / t.tiles_along % t.tiles_across * kTile;
  const PairWalk::Offsets at = t.others.at(block / t.tiles_along / t.tiles_across);
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int r = warp(); r < kTile; r += warps)
    if (first_along + r < t.along.extent && first_across + lane() < t.across.extent)
      tile[r][lane()] = from[at.first + (first_along + r) * t.along.first + first_across + lane()];
  __syncthreads();
  for (int r = warp(); r < kTile; r += warps)
    if (first_across + r < t.across.extent && first_along + lane() < t.along.extent)
      to[at.second + (first_across + r) * t.across.second + first_along + lane()] = tile[lane()][r];
}

// The axis that is the fastest in `from`, 0 where tiles would not pay: where it is the fastest in
// `to` as well, or one of the two fills less than half of a tile.
int axis_across(const PairWalk& walk) {
  constexpr int64_t kWorthIt = kTile / 2;
  const auto wide = [](const PairWalk::Axis& axis) { return axis.extent >= kWorthIt; };
  if (walk.inner().second != 1 || !wide(walk.inner())) return 0;
  for (int axis = 1; axis < walk.rank; ++axis) {
    const PairWalk::Axis& across = walk.axes[static_cast<size_t>(axis)];
    if (across.first == 1 && wide(across)) return axis;
  }
  return 0;
}

template <class T>
void launch_transpose(const T* from, const PairWalk& walk, int axis_across, T* to, int64_t n) {
  Transpose t = {};
  t.along = walk.inner();
  t.across = walk.axes[static_cast<size_t>(axis_across)];
  for (int axis = 1; axis < walk.rank; ++axis)
    if (axis != axis_across) t.others.add(walk.axes[static_cast<size_t>(axis)]);
  t.tiles_along = (t.along.extent + kTile - 1) / kTile;
  t.tiles_across = (t.across.extent + kTile - 1) / kTile;
  const int64_t others = n / (t.along.extent * t.across.extent);
  launch("copy", transpose_kernel<T>,
         {.blocks = blocks_for(t.tiles_along * t.tiles_across * others, 1), .threads = 256}, from,
         t, to);
}

// What all distances along slower axes divide by, 1 where neighbours on one side are none on the
// other.
int64_t movable_together(const PairWalk& walk) {
  if (walk.inner().first != 1 || walk.inner().second != 1) return 1;
  int64_t common = walk.inner().extent;
  for (int axis = 1; axis < walk.rank; ++axis) {
    const PairWalk::Axis& slower = walk.axes[static_cast<size_t>(axis)];
    common = std::gcd(common, std::gcd(slower.first, slower.second));
  }
  return common;
}

template <class T>
void copy(const T* from, const PairWalk& walk, T* to, int64_t n) {
  if (n == 0) return;
  if (const int axis = axis_across(walk); axis > 0) {
    launch_transpose(from, walk, axis, to, n);
    return;
  }
  with_width<T>({movable_together(walk)}, {from, to}, [&]<int kWidth>() {
    launch("copy", copy_kernel<kWidth, T>, grid_over(n / kWidth), from, walk, to, n);
  });
}

}  // namespace

void copy_rows(const Tensor& from, int64_t from_offset, int64_t from_stride, Tensor& to,
               int64_t to_offset, int64_t to_stride, int64_t rows, int64_t width) {
  PairWalk walk;
  walk.add({width, 1, 1});
  walk.add({rows, from_stride, to_stride});
  with_stored_type(from.dtype(), [&]<class T>() {
    copy(from.device_data<T>() + from_offset, walk, to.mutable_device_data<T>() + to_offset,
         rows * width);
  });
}

void copy_box(const Tensor& from, int64_t from_corner, const std::vector<int64_t>& from_strides,
              Tensor& to, int64_t to_corner, const std::vector<int64_t>& to_strides,
              const Shape& extents) {
  PairWalk walk;
  for (int axis = extents.rank() - 1; axis >= 0; --axis)
    walk.add({extents[axis], from_strides[static_cast<size_t>(axis)],
              to_strides[static_cast<size_t>(axis)]});
  with_stored_type(from.dtype(), [&]<class T>() {
    copy(from.device_data<T>() + from_corner, walk, to.mutable_device_data<T>() + to_corner,
         extents.size());
  });
}

}  // namespace decant::cuda
