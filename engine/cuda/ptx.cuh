#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "engine/core/bf16.h"

// Every instruction that C++ has no words for, each in a function of its own; the project's only
// inline assembly for the card. The emulated device does the same in plain C++ (emulated/ptx.h).
//
// The operands of a matrix instruction are spread over the 32 lanes of a warp, of which all must
// take part. With g = lane / 4 and t = lane % 4, a pair (lo, hi) being packed into one register:
//   mma_bf16   A[16, 16]  a0 = A[g, 2t..2t+1]        a1 = A[g+8, 2t..2t+1]
//                         a2 = A[g, 2t+8..2t+9]      a3 = A[g+8, 2t+8..2t+9]
//              B[16, 8]   b0 = B[2t..2t+1, g]        b1 = B[2t+8..2t+9, g]
//   mma_tf32   A[16, 8]   a0 = A[g, t]  a1 = A[g+8, t]  a2 = A[g, t+4]  a3 = A[g+8, t+4]
//              B[8, 8]    b0 = B[t, g]  b1 = B[t+4, g]
//   both       D[16, 8]   d0, d1 = D[g, 2t..2t+1]    d2, d3 = D[g+8, 2t..2t+1]
// Source: PTX ISA 8.5, sections 9.7.9.25 (cp.async), 9.7.14.5 (mma.sync, ldmatrix).

#ifdef DECANT_EMULATED
#include "engine/cuda/emulated/ptx.h"
#else

namespace decant::cuda {

__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- asynchronous copies ------------------------------------------------------------------------

/// Begins to copy 16 bytes from global to shared memory, both addresses multiples of 16: `valid`
/// bytes are read, the rest becomes zero. With valid = 0 nothing is read, and `global` may be
/// anything.
__device__ inline void cp_async16(void* shared, const void* global, unsigned valid = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid)
               : "memory");
}

/// The same by way of the L1 cache, for what this block or its neighbours on the multiprocessor
/// copy again soon. Only of what no kernel writes while this one runs: L1 caches do not see it.
__device__ inline void cp_async16_cached(void* shared, const void* global, unsigned valid = 16) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid)
               : "memory");
}

/// Makes a group of the copies that this thread began since the last.
__device__ inline void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until all but the last `pending` groups of this thread are done. Other threads see them
/// after a barrier.
template <int pending>
__device__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---- matrices from shared memory ----------------------------------------------------------------

/// Loads four 8 x 8 matrices of 16-bit elements. Lane i hands the address of row i % 8 of matrix
/// i / 8, 16 bytes, aligned; r[m] of lane i is elements 2 (i % 4) and the next of row i / 4.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, each matrix transposed: r[m] of lane i is elements 2 (i % 4) and the next of column
/// i / 4.
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Two matrices, of the addresses that lanes 0 to 15 hand.
__device__ inline void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

// ---- products -----------------------------------------------------------------------------------

/// d += a b on 16 x 8 x 16, operands bf16, sums float32.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// d += a b on 16 x 8 x 8, operands tf32 (see to_tf32), sums float32.
__device__ inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// A float rounded to the nearest with 10 bits of fraction, ties away from zero. The product itself
/// only looks at those bits: what was not rounded is cut off, which is biased.
__device__ inline uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

/// Two floats as bf16, rounded to the nearest even, `low` in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

}  // namespace decant::cuda
#endif
