#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "engine/core/dtype.h"
#include "engine/cuda/ptx.cuh"

// Neighbouring numbers of a stored type T, float or bf16, which kernels read and write several at a
// time and compute with in float.

namespace decant::cuda {

template <int kWidth>
struct Floats {
  float at[kWidth];
};

/// kWidth numbers as they lie in memory, read as whatever type they have: words that one
/// instruction moves, 16 bytes at most.
template <class Word, int kWords>
struct alignas(sizeof(Word) * kWords > 16 ? 16 : sizeof(Word) * kWords) [[gnu::may_alias]] Words {
  Word at[kWords];
};
template <class T, int kWidth>
using Stored = std::conditional_t<std::is_same_v<T, bf16> && kWidth % 2 == 0,
                                  Words<uint32_t, kWidth / 2>, Words<T, kWidth>>;

template <int kWidth, class T>
__device__ Floats<kWidth> load(const T* data) {
  const auto stored = *reinterpret_cast<const Stored<T, kWidth>*>(data);
  Floats<kWidth> values;
#pragma unroll
  for (int k = 0; k < kWidth; ++k)
    if constexpr (std::is_same_v<T, bf16> && kWidth % 2 == 0) {
      const uint32_t pair = stored.at[k / 2];
      values.at[k] = std::bit_cast<float>(k % 2 == 0 ? pair << 16U : pair & 0xFFFF0000U);
    } else {
      values.at[k] = static_cast<float>(stored.at[k]);
    }
  return values;
}

/// Rounded to the nearest even where T is bf16.
template <class T, int kWidth>
__device__ void store(T* data, const Floats<kWidth>& values) {
  Stored<T, kWidth> stored;
  if constexpr (std::is_same_v<T, bf16> && kWidth % 2 == 0) {
#pragma unroll
    for (int k = 0; k < kWidth; k += 2)
      stored.at[k / 2] = pack_bf16(values.at[k], values.at[k + 1]);
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) stored.at[k] = static_cast<T>(values.at[k]);
  }
  *reinterpret_cast<Stored<T, kWidth>*>(data) = stored;
}

/// to = from, of kWidth neighbours, not looked at.
template <int kWidth, class T>
__device__ void move(const T* from, T* to) {
  *reinterpret_cast<Stored<T, kWidth>*>(to) = *reinterpret_cast<const Stored<T, kWidth>*>(from);
}

/// Whether numbers can be moved `width` at a time: all counts and distances are multiples of it,
/// and all data, nullptr included, begin at multiples of 16 bytes.
inline bool in_groups_of(int width, std::initializer_list<int64_t> counts,
                         std::initializer_list<const void*> data) {
  return std::ranges::all_of(counts, [=](int64_t count) { return count % width == 0; }) &&
         std::ranges::all_of(
             data, [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; });
}

/// Calls f<kWidth>() with the most numbers of type T, 16 bytes at most, that can be moved at a
/// time; counts and data as above.
template <class T, class F>
void with_width(std::initializer_list<int64_t> counts, std::initializer_list<const void*> data,
                F&& f) {
  constexpr int kMost = static_cast<int>(16 / sizeof(T));
  if (in_groups_of(kMost, counts, data)) return f.template operator()<kMost>();
  if constexpr (kMost > 4)
    if (in_groups_of(4, counts, data)) return f.template operator()<4>();
  f.template operator()<1>();
}

}  // namespace decant::cuda
