// A block takes up to 128 columns of some rows; its threads are laid along memory, so that thread t
// always meets column t mod width, whatever the width. Two launches: parts of the rows, then their
// sums. Reads x once, and is bound by that.
#include "engine/ops/column_sums.h"

#include <bit>

#include "engine/cuda/kernel.cuh"

namespace decant::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxParts = 1024;
constexpr int64_t kMinRows = 16;  // of a thread, so that adding up dwarfs the second launch

struct Columns {
  int64_t rows, columns;
  int64_t rows_per_part;
  int width;       // columns of a block
  int lanes;       // rows that a block reads at once
  int half_lanes;  // the largest power of 2 below lanes, or 0
};

template <class T>
__global__ void column_sums_kernel(const T* __restrict__ x, float* __restrict__ sums, Columns c) {
  SHARED(partial, float[kThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int row_lane = thread / c.width;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * c.width + thread % c.width;
  const bool active = row_lane < c.lanes && column < c.columns;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * c.rows_per_part;
  const int64_t end = begin + c.rows_per_part < c.rows ? begin + c.rows_per_part : c.rows;
  float sum = 0.0F;
  if (active) {
#pragma unroll 8
    for (int64_t row = begin + row_lane; row < end; row += c.lanes)
      sum += float(x[row * c.columns + column]);
  }
  partial[thread] = sum;
  __syncthreads();
  for (int half = c.half_lanes; half > 0; half /= 2) {
    if (row_lane < half && row_lane + half < c.lanes)
      partial[thread] += partial[thread + half * c.width];
    __syncthreads();
  }
  if (row_lane == 0 && active) sums[blockIdx.y * c.columns + column] = partial[thread];
}

template <class T>
void launch_sums(const char* op, const T* x, float* sums, Columns c, int64_t parts) {
  const Grid grid = {.blocks = dim3(blocks_for(c.columns, c.width), static_cast<unsigned>(parts)),
                     .threads = kThreads};
  launch(op, column_sums_kernel<T>, grid, x, sums, c);
}

}  // namespace

void column_sums(const char* op, const Tensor& x, int64_t rows, int64_t columns, Tensor& sums) {
  if (columns == 0) return;
  // All columns, or some whole lines of the cache; several rows either way, whose sums a tree adds.
  const int width = static_cast<int>(columns <= kThreads / 2 ? columns : kThreads / 4);
  Columns c = {.rows = rows,
               .columns = columns,
               .rows_per_part = rows,
               .width = width,
               .lanes = kThreads / width,
               .half_lanes = 0};
  c.half_lanes =
      c.lanes < 2 ? 0 : static_cast<int>(std::bit_floor(static_cast<unsigned>(c.lanes) - 1U));
  const int64_t share = (rows + kMaxParts - 1) / kMaxParts;
  c.rows_per_part = std::max(share, kMinRows * c.lanes);
  const int64_t parts = std::max<int64_t>(1, (rows + c.rows_per_part - 1) / c.rows_per_part);
  Tensor partial;
  if (parts > 1) partial = Tensor({parts, columns}, DType::f32, Device::cuda);
  Tensor& first = parts > 1 ? partial : sums;
  with_stored_type(x.dtype(), [&]<class T>() {
    launch_sums(op, x.device_data<T>(), first.mutable_device_data<float>(), c, parts);
  });
  if (parts == 1) return;
  c.rows = parts;
  c.rows_per_part = parts;
  launch_sums(op, partial.device_data<float>(), sums.mutable_device_data<float>(), c, 1);
}

}  // namespace decant::cuda
