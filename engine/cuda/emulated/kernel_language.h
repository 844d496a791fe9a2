#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <string>
#include <type_traits>
#include <utility>

#include "engine/cuda/emulated/block.h"

// CUDA C++ as a host compiler sees it: qualifiers that say nothing here, shared arrays, and the
// functions that only kernels have.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __restrict__ __restrict

#define MOST_THREADS(count) decant::emulated::expect_threads(count)

// __shared__ is not defined, so that every declaration goes through SHARED (see kernel.cuh): an
// object per block, whose indices are checked.
#define SHARED(name, ...)                                                                       \
  auto& name =                                                                                  \
      *static_cast<decant::emulated::SharedType<__VA_ARGS__>*>(decant::emulated::shared_object( \
          [] {                                                                                  \
            static const char site = 0;                                                         \
            return &site;                                                                       \
          }(),                                                                                  \
          sizeof(__VA_ARGS__)))

namespace decant::emulated {

template <class T>
struct SharedArray;

template <class T>
struct SharedTypeOf {
  using Type = T;
};
template <class T, size_t N>
struct SharedTypeOf<T[N]> {
  using Type = SharedArray<T[N]>;
};
template <class T>
using SharedType = typename SharedTypeOf<T>::Type;

/// An array whose index is checked; like one it turns into a pointer to its first element.
template <class T, size_t N>
struct SharedArray<T[N]> {
  SharedType<T> elements[N];

  SharedType<T>& operator[](std::integral auto i) {
    if (!std::in_range<size_t>(i) || static_cast<size_t>(i) >= N)
      fault("index " + std::to_string(i) + " of a shared array of " + std::to_string(N));
    return elements[i];
  }
  // NOLINTNEXTLINE(google-explicit-constructor): as arrays do
  operator T*()
    requires(!std::is_array_v<T>)
  {
    return elements;
  }
};

template <class T>
void* address_of(T& x) {
  return const_cast<void*>(static_cast<const volatile void*>(&x));
}

/// One lane of a shuffle: reads `value` of lane `source`, or its own where that is its own number.
template <class T>
struct Shuffle {
  T value;
  int source;
  T result;

  static void together(void* const* lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane] == nullptr) continue;
      auto& me = *static_cast<Shuffle*>(lanes[lane]);
      if (lanes[me.source] == nullptr)
        fault("shuffle: lane " + std::to_string(lane) + " reads lane " + std::to_string(me.source) +
              ", which takes no part");
      me.result = static_cast<const Shuffle*>(lanes[me.source])->value;
    }
  }
};

inline int lane_id() {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  return static_cast<int>(thread % 32);
}

// Source `to` where it lies in this lane's segment of `width` lanes, the lane itself elsewhere.
template <class T>
T shuffle(const char* what, unsigned mask, T value, int to, int width, const Place& place) {
  static_assert(std::is_arithmetic_v<T>);
  const int lane = lane_id();
  const int first = lane / width * width;
  const bool inside = to >= first && to < first + width;
  Shuffle<T> mine = {value, inside ? to : lane, {}};
  meet(what, mask, &mine, &Shuffle<T>::together, place);
  return mine.result;
}

struct Vote {
  bool yes;
  unsigned ballot;

  static void together(void* const* lanes) {
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
      if (lanes[lane] != nullptr && static_cast<const Vote*>(lanes[lane])->yes)
        ballot |= 1U << lane;
    for (unsigned lane = 0; lane < 32; ++lane)
      if (lanes[lane] != nullptr) static_cast<Vote*>(lanes[lane])->ballot = ballot;
  }
};

inline void nothing_together(void* const*) {}

}  // namespace decant::emulated

// ---- barriers, votes, shuffles ------------------------------------------------------------------

inline void __syncthreads(const std::source_location& place = std::source_location::current()) {
  decant::emulated::wait_for_block(place);
}

inline void __syncwarp(unsigned mask = 0xFFFFFFFFU,
                       const std::source_location& place = std::source_location::current()) {
  decant::emulated::meet("__syncwarp", mask, nullptr, decant::emulated::nothing_together, place);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const std::source_location& place = std::source_location::current()) {
  const int first = decant::emulated::lane_id() / width * width;
  return decant::emulated::shuffle("__shfl_sync", mask, value, first + (source & (width - 1)),
                                   width, place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 const std::source_location& place = std::source_location::current()) {
  return decant::emulated::shuffle("__shfl_up_sync", mask, value,
                                   decant::emulated::lane_id() - static_cast<int>(distance), width,
                                   place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   const std::source_location& place = std::source_location::current()) {
  return decant::emulated::shuffle("__shfl_down_sync", mask, value,
                                   decant::emulated::lane_id() + static_cast<int>(distance), width,
                                   place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  const std::source_location& place = std::source_location::current()) {
  return decant::emulated::shuffle("__shfl_xor_sync", mask, value,
                                   decant::emulated::lane_id() ^ bits, width, place);
}

inline unsigned __ballot_sync(unsigned mask, bool yes,
                              const std::source_location& place = std::source_location::current()) {
  decant::emulated::Vote mine = {yes, 0};
  decant::emulated::meet("__ballot_sync", mask, &mine, decant::emulated::Vote::together, place);
  return mine.ballot;
}
inline bool __any_sync(unsigned mask, bool yes,
                       const std::source_location& place = std::source_location::current()) {
  return __ballot_sync(mask, yes, place) != 0;
}
inline bool __all_sync(unsigned mask, bool yes,
                       const std::source_location& place = std::source_location::current()) {
  return __ballot_sync(mask, !yes, place) == 0;
}

// Threads run one at a time, so there is nothing left for a fence to order.
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- atomics: on whole numbers only, since sums of floats depend on their order -----------------

namespace decant::emulated {

/// The old value, in whose place is what f makes of it.
template <class T, class F>
T replace(T* address, F f) {
  const T old = *address;
  *address = static_cast<T>(f(old));
  return old;
}

}  // namespace decant::emulated

template <std::integral T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return decant::emulated::replace(address, [=](T old) { return old + value; });
}
template <std::integral T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return decant::emulated::replace(address, [=](T old) { return std::max(old, value); });
}
template <std::integral T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return decant::emulated::replace(address, [=](T old) { return std::min(old, value); });
}
template <std::integral T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return decant::emulated::replace(address, [=](T old) { return old | value; });
}
template <std::integral T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return decant::emulated::replace(address, [=](T) { return value; });
}
template <std::integral T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return decant::emulated::replace(address, [=](T old) { return old == expected ? value : old; });
}

// ---- arithmetic ---------------------------------------------------------------------------------

inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((uint64_t{a} * b) >> 32U);
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
inline float cospif(float x) {
  return static_cast<float>(std::cos(std::numbers::pi * static_cast<double>(x)));
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
template <class T>
T __ldg(const T* address) {
  return *address;
}
using std::max;
using std::min;
