#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace decant::cuda {

/// kWidth neighbouring floats, which one instruction moves.
template <int kWidth>
struct alignas(sizeof(float) * kWidth) Floats {
  float at[kWidth];
};

template <int kWidth>
__device__ Floats<kWidth> load(const float* data) {
  return *reinterpret_cast<const Floats<kWidth>*>(data);
}
template <int kWidth>
__device__ void store(float* data, const Floats<kWidth>& values) {
  *reinterpret_cast<Floats<kWidth>*>(data) = values;
}

/// Whether floats can be moved four at a time: all counts and distances are multiples of 4, and all
/// data begin at multiples of 16 bytes.
inline bool in_fours(std::initializer_list<int64_t> counts,
                     std::initializer_list<const void*> data) {
  return std::ranges::all_of(counts, [](int64_t count) { return count % 4 == 0; }) &&
         std::ranges::all_of(
             data, [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; });
}

/// Calls f<4>() or f<1>().
template <class F>
void with_width(bool fours, F&& f) {
  fours ? f.template operator()<4>() : f.template operator()<1>();
}

}  // namespace decant::cuda
