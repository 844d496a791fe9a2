#pragma once

#include "engine/cuda/kernel.cuh"

// Kernels that take whole rows, written once for rows of any length: who shares a row is a type.

namespace decant::cuda {

/// A row as one worker sees it: elements first, first + step, .. below length. `row` is the
/// worker's first one, `rows` the number of workers of the grid; reduce combines over all that
/// share the row.
struct OneThread {
  static __device__ int64_t row() { return global_thread(); }
  static __device__ int64_t rows() { return all_threads(); }
  static __device__ int first() { return 0; }
  static __device__ int step() { return 1; }
  template <class T, class Combine>
  static __device__ T reduce(T value, T /*neutral*/, Combine /*combine*/) {
    return value;
  }
};
struct OneWarp {
  static __device__ int64_t row() { return global_thread() / kWarp; }
  static __device__ int64_t rows() { return all_threads() / kWarp; }
  static __device__ int first() { return lane(); }
  static __device__ int step() { return kWarp; }
  template <class T, class Combine>
  static __device__ T reduce(T value, T /*neutral*/, Combine combine) {
    return warp_reduce(value, combine);
  }
};
struct OneBlock {
  static __device__ int64_t row() { return blockIdx.x; }
  static __device__ int64_t rows() { return gridDim.x; }
  static __device__ int first() { return static_cast<int>(threadIdx.x); }
  static __device__ int step() { return static_cast<int>(blockDim.x); }
  template <class T, class Combine>
  static __device__ T reduce(T value, T neutral, Combine combine) {
    return block_reduce(value, neutral, combine);
  }
};

/// Calls f(worker, grid) with what suits `count` rows of `length`: one worker each. Rows that are
/// not contiguous get a thread each, so that neighbouring threads read neighbouring memory.
template <class F>
void with_worker(int64_t count, int64_t length, bool contiguous, F&& f) {
  constexpr unsigned kThreads = 256;
  constexpr int64_t kShort = 8;
  constexpr int64_t kLong = 1024;
  if (!contiguous || length < kShort)
    f(OneThread(), Grid{.blocks = blocks_for(count, kThreads), .threads = kThreads});
  else if (length < kLong)
    f(OneWarp(), Grid{.blocks = blocks_for(count, kThreads / kWarp), .threads = kThreads});
  else
    f(OneBlock(), Grid{.blocks = blocks_for(count, 1), .threads = kThreads});
}

}  // namespace decant::cuda
