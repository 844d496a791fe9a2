#pragma once

// The instructions of ptx.cuh in plain C++. Included by it.

#include "engine/core/bf16.h"
#include "engine/cuda/emulated/kernel_language.h"
#include "engine/cuda/emulated/shared_memory.h"

namespace decant::cuda {

using emulated::Place;

inline void cp_async16(void* shared, const void* global, unsigned valid = 16) {
  emulated::copy_async(shared, global, valid);
}
inline void cp_async16_cached(void* shared, const void* global, unsigned valid = 16) {
  cp_async16(shared, global, valid);
}
inline void cp_async_commit() {
  emulated::commit_copies();
}
template <int pending>
void cp_async_wait() {
  emulated::wait_copies(pending);
}

/// One lane of ldmatrix: the row it hands in, the registers it gets.
template <int count, bool transposed>
struct MatrixLoad {
  const void* row;
  uint32_t* r;

  static void together(void* const* lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane] == nullptr) emulated::fault("ldmatrix: expected all 32 lanes");
      const auto* row = static_cast<const MatrixLoad*>(lanes[lane])->row;
      if (lane < 8 * count &&
          (!emulated::is_shared(row, 16) || reinterpret_cast<uintptr_t>(row) % 16 != 0))
        emulated::fault("ldmatrix: expected 16 aligned bytes of shared memory");
    }
    const auto element = [&](int matrix, int row, int column) {
      uint16_t bits = 0;
      const auto* start = static_cast<const MatrixLoad*>(lanes[8 * matrix + row])->row;
      std::memcpy(&bits, static_cast<const uint16_t*>(start) + column, sizeof(bits));
      return uint32_t{bits};
    };
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < count; ++m) {
        const int a = lane / 4;
        const int b = 2 * (lane % 4);
        static_cast<MatrixLoad*>(lanes[lane])->r[m] =
            transposed ? element(m, b, a) | element(m, b + 1, a) << 16U
                       : element(m, a, b) | element(m, a, b + 1) << 16U;
      }
  }
};

template <bool transposed, size_t count>
void load_matrices(uint32_t (&r)[count], const void* row, const Place& place) {
  using Load = MatrixLoad<static_cast<int>(count), transposed>;
  Load mine = {row, r};
  emulated::meet("ldmatrix", 0xFFFFFFFFU, &mine, &Load::together, place);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, const Place& place = Place::current()) {
  load_matrices<false>(r, row, place);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row,
                              const Place& place = Place::current()) {
  load_matrices<true>(r, row, place);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, const Place& place = Place::current()) {
  load_matrices<false>(r, row, place);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row,
                              const Place& place = Place::current()) {
  load_matrices<true>(r, row, place);
}

/// One lane of a product: gathers the operands as matrices, multiplies, hands out the sums.
/// Element reads an operand's value: element(register array, index in the lane's elements).
template <int depth, class Element>
struct MatrixProduct {
  float* d;
  const uint32_t* a;
  const uint32_t* b;

  static void together(void* const* lanes) {
    float a[16][depth];
    float b[depth][8];
    constexpr int kPack = depth / 8;  // elements per register: 1 or 2
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane] == nullptr) emulated::fault("mma: expected all 32 lanes");
      const auto& me = *static_cast<const MatrixProduct*>(lanes[lane]);
      const int g = lane / 4;
      const int t = lane % 4;
      for (int i = 0; i < kPack; ++i)
        for (int half = 0; half < 2; ++half) {
          const int k = kPack * t + i + half * depth / 2;
          a[g][k] = Element::value(me.a[2 * half], i);
          a[g + 8][k] = Element::value(me.a[2 * half + 1], i);
          b[k][g] = Element::value(me.b[half], i);
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
      const auto& me = *static_cast<const MatrixProduct*>(lanes[lane]);
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + 8 * (i / 2);
        const int column = 2 * (lane % 4) + i % 2;
        for (int k = 0; k < depth; ++k) me.d[i] += a[row][k] * b[k][column];
      }
    }
  }
};

struct Bf16Element {
  static float value(uint32_t bits, int i) {
    return std::bit_cast<float>(i == 0 ? bits << 16U : bits & 0xFFFF0000U);
  }
};
struct Tf32Element {
  static float value(uint32_t bits, int /*i*/) { return std::bit_cast<float>(bits & 0xFFFFE000U); }
};

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     const Place& place = Place::current()) {
  using Mma = MatrixProduct<16, Bf16Element>;
  Mma mine = {d, a, b};
  emulated::meet("mma", 0xFFFFFFFFU, &mine, &Mma::together, place);
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     const Place& place = Place::current()) {
  using Mma = MatrixProduct<8, Tf32Element>;
  Mma mine = {d, a, b};
  emulated::meet("mma", 0xFFFFFFFFU, &mine, &Mma::together, place);
}

inline uint32_t to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool finite = (bits & 0x7F800000U) != 0x7F800000U;
  return finite ? (bits + 0x1000U) & 0xFFFFE000U : bits;
}

inline uint32_t pack_bf16(float low, float high) {
  return uint32_t{bf16(low).bits} | uint32_t{bf16(high).bits} << 16U;
}

}  // namespace decant::cuda
