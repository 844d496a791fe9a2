// A block takes up to 128 columns of some rows; its threads are laid along memory, so that thread t
// always meets column t mod width, whatever the width. Where blocks share columns, the last of them
// to finish adds up their sums, in order. Reads x once, and is bound by that.
#include "engine/ops/column_sums.h"

#include <bit>

#include "engine/cuda/kernel.cuh"

namespace decant::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxParts = 264;  // two for each multiprocessor of the largest cards
constexpr int64_t kMinRows = 16;  // of a thread, so that adding up dwarfs what the last block does

struct Columns {
  int64_t rows, columns;
  int64_t rows_per_part;
  int width;       // columns of a block
  int lanes;       // rows that a block reads at once
  int half_lanes;  // the largest power of 2 below lanes, or 0
};

// The sums of rows begin to end - 1 of x; a column's first thread has its sum. All threads of the
// block must call it.
template <class T, class Partial>
__device__ float sum_of_rows(const T* x, const Columns& c, int64_t begin, int64_t end,
                             Partial& partial) {
  const int thread = static_cast<int>(threadIdx.x);
  const int row_lane = thread / c.width;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * c.width + thread % c.width;
  float sum = 0.0F;
  if (row_lane < c.lanes && column < c.columns) {
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
  return partial[thread];
}

// parts [gridDim.y, columns], where there are several; arrived: a counter for every block along x.
template <class T>
__global__ void column_sums_kernel(const T* __restrict__ x, float* __restrict__ sums, Columns c,
                                   float* parts, unsigned* arrived) {
  SHARED(partial, float[kThreads]);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * c.width + threadIdx.x;
  const bool holds = static_cast<int>(threadIdx.x) < c.width && column < c.columns;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * c.rows_per_part;
  const float sum = sum_of_rows(x, c, begin, min(c.rows, begin + c.rows_per_part), partial);
  if (gridDim.y == 1) {
    if (holds) sums[column] = sum;
    return;
  }
  if (holds) parts[blockIdx.y * c.columns + column] = sum;
  if (!last_of(gridDim.y, arrived + blockIdx.x)) return;
  const float all = sum_of_rows(parts, c, 0, gridDim.y, partial);
  if (holds) sums[column] = all;
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
  const unsigned bands = blocks_for(columns, width);
  const bool fills = bands > kArrivalCounters;  // the card, without parts
  const int64_t share = (rows + kMaxParts - 1) / kMaxParts;
  c.rows_per_part = fills ? std::max<int64_t>(rows, 1) : std::max(share, kMinRows * c.lanes);
  const int64_t parts = std::max<int64_t>(1, (rows + c.rows_per_part - 1) / c.rows_per_part);
  Tensor memory;
  if (parts > 1) memory = Tensor({parts, columns}, DType::f32, Device::cuda);
  with_stored_type(x.dtype(), [&]<class T>() {
    launch(op, column_sums_kernel<T>,
           {.blocks = dim3(bands, static_cast<unsigned>(parts)), .threads = kThreads},
           x.device_data<T>(), sums.mutable_device_data<float>(), c,
           parts > 1 ? memory.mutable_device_data<float>() : nullptr,
           parts > 1 ? arrival_counters() : nullptr);
  });
}

}  // namespace decant::cuda
