#pragma once

#include "engine/core/precision.h"
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/ptx.cuh"

// What the convolutions as matrix products share: one block's tile of C [M, N] = A [M, K] B [K, N].
// Pieces of A and B, kDepth deep, pass through a ring of buffers in shared memory, copied there
// while earlier ones are multiplied. Each warp adds up its part of the tile in registers, as 16 x 8
// pieces spread over its lanes like the result of a matrix instruction (see ptx.cuh); without
// tensor cores a lane adds up the very same elements.

namespace decant::cuda::tile {

inline constexpr int kDepth = 32;

template <int kRows, int kColumns, int kWarpRows, int kWarpColumns>
struct Block {
  static constexpr int kM = kRows;
  static constexpr int kN = kColumns;
  static constexpr int kDepth = tile::kDepth;
  static constexpr int kStages = 3;
  static constexpr int kThreads = kWarp * kWarpRows * kWarpColumns;
  static constexpr int kWarpM = kM / kWarpRows;  // a warp's part
  static constexpr int kWarpN = kN / kWarpColumns;
  static constexpr int kPiecesM = kWarpM / 16;
  static constexpr int kPiecesN = kWarpN / 8;
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0);

  static __device__ int warp_row() { return warp() % kWarpRows * kWarpM; }
  static __device__ int warp_column() { return warp() / kWarpRows * kWarpN; }
};

template <class B>
using Sums = float[B::kPiecesM][B::kPiecesN][4];

/// An operand's piece in shared memory; a row is a row of A or a column of B. Contiguous along the
/// depth or along the rows, whichever its source is, and padded so that the lanes' reads fall into
/// different banks.
template <int kRows, int kDepth, bool kAlongDepth_>
struct Operand {
  static constexpr bool kAlongDepth = kAlongDepth_;
  static constexpr int kStride = kAlongDepth ? kDepth + 4 : kRows + 8;
  static constexpr int kFloats = kStride * (kAlongDepth ? kRows : kDepth);
  static constexpr int kChunks = (kAlongDepth ? kDepth : kRows) / 4;  // of 16 bytes, on a line
  static constexpr int kLines = kAlongDepth ? kRows : kDepth;

  static __device__ int at(int row, int k) {
    return kAlongDepth ? row * kStride + k : k * kStride + row;
  }
};

// ---- copying ------------------------------------------------------------------------------------

/// Four neighbours from global to shared memory: those that address(0..3) points to, zero where it
/// is null. Where all lie side by side and aligned only address(0) is asked for.
template <bool kAligned, class Address>
__device__ void fetch4(float* to, const float* anywhere, Address address) {
  if constexpr (kAligned) {
    const float* from = address(0);
    cp_async16(to, from == nullptr ? anywhere : from, from == nullptr ? 0 : 16);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* from = address(i);
      to[i] = from == nullptr ? 0.0F : *from;
    }
  }
}

/// All of a block's threads copy one piece: element(row, k) points to an element, or is null.
template <class B, class Tile, bool kAligned, class Element>
__device__ void fetch(float* tile, const float* anywhere, Element element) {
  constexpr int kLinesAtOnce = B::kThreads / Tile::kChunks;
  static_assert(B::kThreads % Tile::kChunks == 0 && Tile::kLines % kLinesAtOnce == 0);
  const int chunk = 4 * (static_cast<int>(threadIdx.x) % Tile::kChunks);
  const int first = static_cast<int>(threadIdx.x) / Tile::kChunks;
#pragma unroll
  for (int i = 0; i < Tile::kLines / kLinesAtOnce; ++i) {
    const int line = first + i * kLinesAtOnce;
    fetch4<kAligned>(tile + line * Tile::kStride + chunk, anywhere, [&](int e) {
      return Tile::kAlongDepth ? element(line, chunk + e, i) : element(chunk + e, line, i);
    });
  }
}

// ---- multiplying --------------------------------------------------------------------------------

/// A[g, t], A[g+8, t], A[g, t+4], A[g+8, t+4] of the 16 x 8 piece at (row, k).
template <class Tile>
__device__ void read_left(uint32_t (&r)[4], const float* tile, int row, int k) {
  if constexpr (Tile::kAlongDepth) {
    // To ldmatrix, four floats are a row of eight 16-bit elements.
    ldmatrix_x4(r, tile + Tile::at(row + lane() % 16, k + lane() / 16 * 4));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      r[i] =
          __float_as_uint(tile[Tile::at(row + lane() / 4 + i % 2 * 8, k + lane() % 4 + i / 2 * 4)]);
  }
}

/// B[t, g], B[t+4, g] of the 8 x 8 piece at (k, row), then those of its neighbour at row + 8.
template <class Tile>
__device__ void read_right(uint32_t (&r)[4], const float* tile, int row, int k) {
  if constexpr (Tile::kAlongDepth) {
    ldmatrix_x4(r, tile + Tile::at(row + lane() % 8 + lane() / 16 * 8, k + lane() / 8 % 2 * 4));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      r[i] =
          __float_as_uint(tile[Tile::at(row + lane() / 4 + i / 2 * 8, k + lane() % 4 + i % 2 * 4)]);
  }
}

__device__ inline uint32_t packed(uint32_t low, uint32_t high) {
  return pack_bf16(__uint_as_float(low), __uint_as_float(high));
}

// The depth that one matrix instruction takes.
template <Precision kPrecision>
inline constexpr int kInstructionDepth = kPrecision == Precision::bf16 ? 16 : 8;

/// The operands of matrix instructions, rounded. Which product of a sum is which does not matter as
/// long as A and B agree: in bf16 lane t pairs depths t and t + 4 where the instruction's own order
/// has 2t and 2t + 1.
template <Precision kPrecision, class Tile>
__device__ void load_left(uint32_t (&a)[4], const float* tile, int row, int k) {
  uint32_t r[4];
  read_left<Tile>(r, tile, row, k);
  if constexpr (kPrecision == Precision::bf16) {
    uint32_t next[4];
    read_left<Tile>(next, tile, row, k + 8);
    a[0] = packed(r[0], r[2]);
    a[1] = packed(r[1], r[3]);
    a[2] = packed(next[0], next[2]);
    a[3] = packed(next[1], next[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = to_tf32(__uint_as_float(r[i]));
  }
}

template <Precision kPrecision, class Tile>
__device__ void load_right(uint32_t (&b)[2], uint32_t (&neighbour)[2], const float* tile, int row,
                           int k) {
  uint32_t r[4];
  read_right<Tile>(r, tile, row, k);
  if constexpr (kPrecision == Precision::bf16) {
    uint32_t next[4];
    read_right<Tile>(next, tile, row, k + 8);
    b[0] = packed(r[0], r[1]);
    b[1] = packed(next[0], next[1]);
    neighbour[0] = packed(r[2], r[3]);
    neighbour[1] = packed(next[2], next[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      b[i] = to_tf32(__uint_as_float(r[i]));
      neighbour[i] = to_tf32(__uint_as_float(r[i + 2]));
    }
  }
}

/// Four values along the depth, for sums in float32.
template <class Tile>
__device__ void load_depths(float (&v)[4], const float* tile, int row, int k) {
  if constexpr (Tile::kAlongDepth) {
    const float4 four = *reinterpret_cast<const float4*>(tile + Tile::at(row, k));
    v[0] = four.x;
    v[1] = four.y;
    v[2] = four.z;
    v[3] = four.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = tile[Tile::at(row, k + i)];
  }
}

/// sums += A B over one piece.
template <class B, class Left, class Right>
__device__ void multiply_add(const float* a, const float* b, Sums<B>& sums) {
  const int row = B::warp_row() + lane() / 4;
  const int column = B::warp_column() + lane() % 4 * 2;
#pragma unroll 2
  for (int k = 0; k < B::kDepth; k += 4) {
    float left[2 * B::kPiecesM][4];
#pragma unroll
    for (int i = 0; i < 2 * B::kPiecesM; ++i) load_depths<Left>(left[i], a, row + 8 * i, k);
#pragma unroll
    for (int j = 0; j < 2 * B::kPiecesN; ++j) {
      float right[4];
      load_depths<Right>(right, b, column + j / 2 * 8 + j % 2, k);
#pragma unroll
      for (int d = 0; d < 4; ++d)
#pragma unroll
        for (int i = 0; i < 2 * B::kPiecesM; ++i)
          sums[i / 2][j / 2][i % 2 * 2 + j % 2] += left[i][d] * right[d];
    }
  }
}

template <Precision kPrecision, class B, class Left, class Right>
__device__ void multiply(const float* a, const float* b, Sums<B>& sums) {
  if constexpr (kPrecision == Precision::f32) {
    multiply_add<B, Left, Right>(a, b, sums);
  } else {
#pragma unroll
    for (int k = 0; k < B::kDepth; k += kInstructionDepth<kPrecision>) {
      uint32_t left[B::kPiecesM][4];
      uint32_t right[B::kPiecesN][2];
#pragma unroll
      for (int i = 0; i < B::kPiecesM; ++i)
        load_left<kPrecision, Left>(left[i], a, B::warp_row() + 16 * i, k);
#pragma unroll
      for (int j = 0; j < B::kPiecesN; j += 2)
        load_right<kPrecision, Right>(right[j], right[j + 1], b, B::warp_column() + 8 * j, k);
#pragma unroll
      for (int i = 0; i < B::kPiecesM; ++i)
#pragma unroll
        for (int j = 0; j < B::kPiecesN; ++j)
          if constexpr (kPrecision == Precision::bf16)
            mma_bf16(sums[i][j], left[i], right[j]);
          else
            mma_tf32(sums[i][j], left[i], right[j]);
    }
  }
}

/// The bytes of dynamic shared memory that accumulate needs.
template <class B, class Left, class Right>
inline constexpr size_t kSharedBytes =
    sizeof(float) * B::kStages * (Left::kFloats + Right::kFloats);

/// sums = A B over `steps` pieces; load(step, a, b) begins the copies of one.
template <Precision kPrecision, class B, class Left, class Right, class Load>
__device__ void accumulate(int steps, Sums<B>& sums, Load load) {
  auto* stages = dynamic_shared<float>();
  constexpr int kStage = Left::kFloats + Right::kFloats;
  const auto begin = [&](int step) {
    float* stage = stages + step % B::kStages * kStage;
    if (step < steps) load(step, stage, stage + Left::kFloats);
    cp_async_commit();
  };
#pragma unroll
  for (auto& row : sums)
#pragma unroll
    for (auto& piece : row)
#pragma unroll
      for (float& sum : piece) sum = 0.0F;
  for (int step = 0; step < B::kStages - 1; ++step) begin(step);
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<B::kStages - 2>();
    __syncthreads();  // this piece is there for all, and the last is no longer read
    begin(step + B::kStages - 1);
    const float* stage = stages + step % B::kStages * kStage;
    multiply<kPrecision, B, Left, Right>(stage, stage + Left::kFloats, sums);
  }
  cp_async_wait<0>();  // for the groups without copies
}

// ---- writing ------------------------------------------------------------------------------------

/// row(m) points to where row m of the tile goes, or is null; of `columns` columns from `first` on.
/// With `pairs` two neighbours are written at once: rows must be aligned to 8 bytes.
template <class B, class Row>
__device__ void store(const Sums<B>& sums, int first, int columns, const float* bias, bool pairs,
                      Row row) {
#pragma unroll
  for (int i = 0; i < 2 * B::kPiecesM; ++i) {
    float* to = row(B::warp_row() + 8 * i + lane() / 4);
    if (to == nullptr) continue;
#pragma unroll
    for (int j = 0; j < B::kPiecesN; ++j) {
      const int column = first + B::warp_column() + 8 * j + lane() % 4 * 2;
      float2 value = make_float2(sums[i / 2][j][i % 2 * 2], sums[i / 2][j][i % 2 * 2 + 1]);
      if (bias != nullptr) {
        if (column < columns) value.x += bias[column];
        if (column + 1 < columns) value.y += bias[column + 1];
      }
      if (pairs && column + 1 < columns) {
        *reinterpret_cast<float2*>(to + column) = value;
      } else {
        if (column < columns) to[column] = value.x;
        if (column + 1 < columns) to[column + 1] = value.y;
      }
    }
  }
}

}  // namespace decant::cuda::tile
