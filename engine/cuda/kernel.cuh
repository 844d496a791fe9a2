#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/cuda/arrivals.h"
#include "engine/cuda/launch.cuh"

// What kernels are written with: where a thread is, shared memory, and reductions whose order is
// fixed, so that their bits are.

// Static shared memory is declared SHARED(tile, float[32][33]), then used as the array it names.
// It is aligned to 128 bytes. The emulated device gives each block a poisoned one whose indices are
// checked.
// A kernel says the threads of its __launch_bounds__ again first in its body,
// MOST_THREADS(kThreads): a card refuses to start a larger block, and so does the emulated device,
// which sees the body only.
#ifndef DECANT_EMULATED
#define MOST_THREADS(count)
#define SHARED(name, ...) __shared__ __align__(128) std::type_identity_t<__VA_ARGS__> name
#endif

namespace decant::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

/// Dynamic shared memory, as many bytes as the launch asked for; aligned to 128 bytes.
template <class T>
__device__ T* dynamic_shared() {
#ifdef DECANT_EMULATED
  return static_cast<T*>(emulated::dynamic_shared());
#else
  extern __shared__ __align__(128) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
#endif
}

// Of grids with threads and blocks along x only.
__device__ inline int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t all_threads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}
__device__ inline int lane() {
  return static_cast<int>(threadIdx.x % kWarp);
}
__device__ inline int warp() {
  return static_cast<int>(threadIdx.x / kWarp);
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// The value of the lane whose number differs by the bits of `mask`; of any struct of 32-bit words.
template <class T>
__device__ T shuffle_xor(T value, int mask) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(int) == 0);
  constexpr int kWords = sizeof(T) / sizeof(int);
  int words[kWords];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (int& word : words) word = __shfl_xor_sync(kAllLanes, word, mask);
  memcpy(&value, words, sizeof(T));
  return value;
}

/// combine over the warp's lanes, as a tree over neighbours; every lane has the result. combine
/// must be commutative to the bit.
template <class T, class Combine>
__device__ T warp_reduce(T value, Combine combine) {
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2)
    value = combine(value, shuffle_xor(value, distance));
  return value;
}

__device__ inline float warp_sum(float value) {
  return warp_reduce(value, Sum());
}
__device__ inline float warp_max(float value) {
  return warp_reduce(value, Max());
}

/// The same over a block of blockDim.x threads, a multiple of 32; all threads must call it, and all
/// have the result. `neutral` stands for the lanes of warps that are not there.
template <class T, class Combine>
__device__ T block_reduce(T value, T neutral, Combine combine) {
  SHARED(partial, T[kWarp]);
  value = warp_reduce(value, combine);
  __syncthreads();  // whoever still reads `partial` of the last call
  if (lane() == 0) partial[warp()] = value;
  __syncthreads();
  value = lane() < static_cast<int>(blockDim.x / kWarp) ? T(partial[lane()]) : neutral;
  return warp_reduce(value, combine);
}

__device__ inline float block_sum(float value) {
  return block_reduce(value, 0.0F, Sum());
}

/// Whether this is the last of `blocks` blocks to come here, and so the one that may read what all
/// of them wrote before. `arrived`, one of arrival_counters(), is 0 before and after. All threads
/// of the block must call it, once in a kernel, and all have the result.
__device__ inline bool last_of(unsigned blocks, unsigned* arrived) {
  SHARED(before, unsigned);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    before = atomicAdd(arrived, 1U);
    if (before == blocks - 1) *arrived = 0;
  }
  __syncthreads();
  __threadfence();
  return before == blocks - 1;
}

}  // namespace decant::cuda
