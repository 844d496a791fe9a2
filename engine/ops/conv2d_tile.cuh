#pragma once

#include <type_traits>

#include "engine/core/bf16.h"
#include "engine/core/precision.h"
#include "engine/cuda/card.h"
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/ptx.cuh"

// What the convolutions as matrix products share: one block's tile of C [M, N] = A [M, K] B [K, N].
// Pieces of A and B, kDepth deep, float or bf16 as they are stored, pass through a ring of buffers
// in shared memory, copied there while earlier ones are multiplied. Each warp adds up its part of
// the tile in registers, as 16 x 8 pieces spread over its lanes like the result of a matrix
// instruction (see ptx.cuh); without tensor cores a lane adds up the very same elements.

namespace decant::cuda::tile {

// Bytes of an operand's line that a step takes, and of one copy. What lies in memory is T.
inline constexpr int kLineBytes = 128;
inline constexpr int kCopyBytes = 16;
template <class T>
inline constexpr int kDepthOf = kLineBytes / sizeof(T);
template <class T>
inline constexpr int kCopied = kCopyBytes / sizeof(T);

/// kStages pieces of each operand are on their way or being multiplied.
template <class T, int kRows, int kColumns, int kWarpRows, int kWarpColumns, int kStages_ = 3>
struct Block {
  using Stored = T;
  using Shallow = Block<T, kRows, kColumns, kWarpRows, kWarpColumns, 2>;
  static constexpr int kM = kRows;
  static constexpr int kN = kColumns;
  static constexpr int kDepth = kDepthOf<T>;
  static constexpr int kStages = kStages_;
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
template <class T, int kRows, bool kAlongDepth_>
struct Operand {
  using Stored = T;
  static constexpr bool kAlongDepth = kAlongDepth_;
  static constexpr int kDepth = kDepthOf<T>;
  static constexpr int kStride = kAlongDepth ? kDepth + kCopied<T> : kRows + 8;
  static constexpr int kSize = kStride * (kAlongDepth ? kRows : kDepth);
  static constexpr int kCopies = (kAlongDepth ? kDepth : kRows) / kCopied<T>;  // of a line
  static constexpr int kLines = kAlongDepth ? kRows : kDepth;

  static __device__ int at(int row, int k) {
    return kAlongDepth ? row * kStride + k : k * kStride + row;
  }
};

// ---- copying ------------------------------------------------------------------------------------

template <class T>
struct alignas(kCopyBytes) Copied {
  T at[kCopied<T>];
};

/// How an operand is copied: kApart element by element; else kCopied<T> elements at once, which
/// must lie side by side and aligned, either once or, kAgain, by way of the cache, as for pixels
/// that several taps read.
enum class Copies { kApart, kOnce, kAgain };

/// Neighbours from global to shared memory: those that address(0), address(1), .. point to, zero
/// where it is null. Where all are copied at once only address(0) is asked for.
template <Copies kCopies, class T, class Address>
__device__ void fetch_neighbours(T* to, const T* anywhere, Address address) {
  if constexpr (kCopies != Copies::kApart) {
    const T* from = address(0);
    constexpr auto kCopy = kCopies == Copies::kAgain ? cp_async16_cached : cp_async16;
    kCopy(to, from == nullptr ? anywhere : from, from == nullptr ? 0 : kCopyBytes);
  } else {
    Copied<T> values;
#pragma unroll
    for (int i = 0; i < kCopied<T>; ++i) {
      const T* from = address(i);
      values.at[i] = from == nullptr ? T(0.0F) : *from;
    }
    *reinterpret_cast<Copied<T>*>(to) = values;
  }
}

/// All of a block's threads copy one piece: element(row, k, i) points to an element, or is null;
/// i counts the lines that this thread takes.
template <class B, class Tile, Copies kCopies, class Element>
__device__ void fetch(typename Tile::Stored* tile, const typename Tile::Stored* anywhere,
                      Element element) {
  constexpr int kLinesAtOnce = B::kThreads / Tile::kCopies;
  static_assert(B::kThreads % Tile::kCopies == 0 && Tile::kLines % kLinesAtOnce == 0);
  const int first_of_line =
      kCopied<typename Tile::Stored> * (static_cast<int>(threadIdx.x) % Tile::kCopies);
  const int first = static_cast<int>(threadIdx.x) / Tile::kCopies;
#pragma unroll
  for (int i = 0; i < Tile::kLines / kLinesAtOnce; ++i) {
    const int line = first + i * kLinesAtOnce;
    fetch_neighbours<kCopies>(tile + line * Tile::kStride + first_of_line, anywhere, [&](int e) {
      return Tile::kAlongDepth ? element(line, first_of_line + e, i)
                               : element(first_of_line + e, line, i);
    });
  }
}

// ---- multiplying --------------------------------------------------------------------------------

// The depth that one matrix instruction takes.
template <Precision kPrecision>
inline constexpr int kInstructionDepth = kPrecision == Precision::bf16 ? 16 : 8;

/// Four 8 x 8 pieces of what is stored as 16 bits, as two by two matrices: of rows from `row` and
/// from row + kRowApart .., depths from k and from k + 8. Which two follow each other first is what
/// A and B differ in.
template <class Tile, bool kRowsFirst>
__device__ void read_quarters(uint32_t (&r)[4], const bf16* tile, int row, int k) {
  const int second = lane() / 8 % 2 * 8;
  const int last = lane() / 16 * 8;
  row += kRowsFirst ? second : last;
  k += kRowsFirst ? last : second;
  if constexpr (Tile::kAlongDepth)
    ldmatrix_x4(r, tile + Tile::at(row + lane() % 8, k));
  else
    ldmatrix_x4_trans(r, tile + Tile::at(row, k + lane() % 8));
}

/// The same of floats, whose pieces are 8 rows x 4 depths: A[g, t], A[g+8, t], A[g, t+4],
/// A[g+8, t+4] or, not rows first, B[t, g], B[t+4, g], then those of its neighbour at row + 8.
template <class Tile, bool kRowsFirst>
__device__ void read_quarters(uint32_t (&r)[4], const float* tile, int row, int k) {
  if constexpr (Tile::kAlongDepth) {
    // To ldmatrix, four floats are a row of eight 16-bit elements.
    const int second = lane() / 8 % 2;
    const int last = lane() / 16;
    ldmatrix_x4(r, tile + Tile::at(row + lane() % 8 + 8 * (kRowsFirst ? second : last),
                                   k + 4 * (kRowsFirst ? last : second)));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      r[i] = __float_as_uint(tile[Tile::at(row + lane() / 4 + 8 * (kRowsFirst ? i % 2 : i / 2),
                                           k + lane() % 4 + 4 * (kRowsFirst ? i / 2 : i % 2))]);
  }
}

__device__ inline uint32_t packed(uint32_t low, uint32_t high) {
  return pack_bf16(__uint_as_float(low), __uint_as_float(high));
}

/// The operands of matrix instructions, rounded where they are stored as floats: a 16 x depth piece
/// of A, or two neighbouring 8-column ones of B, b[0], b[1] and b[2], b[3]. Which product of a sum
/// is which does not matter as long as A and B agree: for floats in bf16 lane t pairs depths t and
/// t + 4 where the instruction's own order has 2t and 2t + 1.
template <Precision kPrecision, bool kLeft, class Tile>
__device__ void load_operand(uint32_t (&a)[4], const typename Tile::Stored* tile, int row, int k) {
  if constexpr (std::is_same_v<typename Tile::Stored, bf16>) {
    read_quarters<Tile, kLeft>(a, tile, row, k);
  } else {
    uint32_t r[4];
    read_quarters<Tile, kLeft>(r, tile, row, k);
    if constexpr (kPrecision == Precision::bf16) {
      uint32_t next[4];
      read_quarters<Tile, kLeft>(next, tile, row, k + 8);
      // Left: r[0], r[2] are depths t and t + 4 of one row; right: r[0], r[1] of one column.
      constexpr int kApart = kLeft ? 2 : 1;
      constexpr int kOther = kLeft ? 1 : 2;
      a[0] = packed(r[0], r[kApart]);
      a[kOther] = packed(r[kOther], r[3]);
      a[kApart] = packed(next[0], next[kApart]);
      a[3] = packed(next[kOther], next[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = to_tf32(__uint_as_float(r[i]));
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
__device__ void multiply(const typename B::Stored* a, const typename B::Stored* b, Sums<B>& sums) {
  if constexpr (kPrecision == Precision::f32) {
    multiply_add<B, Left, Right>(a, b, sums);
  } else {
#pragma unroll
    for (int k = 0; k < B::kDepth; k += kInstructionDepth<kPrecision>) {
      uint32_t left[B::kPiecesM][4];
      uint32_t right[B::kPiecesN / 2][4];
#pragma unroll
      for (int i = 0; i < B::kPiecesM; ++i)
        load_operand<kPrecision, true, Left>(left[i], a, B::warp_row() + 16 * i, k);
#pragma unroll
      for (int j = 0; j < B::kPiecesN / 2; ++j)
        load_operand<kPrecision, false, Right>(right[j], b, B::warp_column() + 16 * j, k);
#pragma unroll
      for (int i = 0; i < B::kPiecesM; ++i)
#pragma unroll
        for (int j = 0; j < B::kPiecesN; ++j) {
          const uint32_t columns[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
          if constexpr (kPrecision == Precision::bf16)
            mma_bf16(sums[i][j], left[i], columns);
          else
            mma_tf32(sums[i][j], left[i], columns);
        }
    }
  }
}

/// The bytes of dynamic shared memory that accumulate needs.
template <class B, class Left, class Right>
inline constexpr size_t kSharedBytes =
    sizeof(typename B::Stored) * B::kStages * (Left::kSize + Right::kSize);

/// Calls f<B>(), or where this card has too little shared memory for it f<B::Shallow>(), which adds
/// up the same in the same order.
template <class B, class Left, class Right, class F>
void with_fitting(F&& f) {
  constexpr size_t kEveryCard = 99 << 10;
  if constexpr (kSharedBytes<B, Left, Right> > kEveryCard) {
    static_assert(kSharedBytes<typename B::Shallow, Left, Right> <= kEveryCard);
    if (kSharedBytes<B, Left, Right> > most_shared_bytes())
      return f.template operator()<typename B::Shallow>();
  }
  f.template operator()<B>();
}

/// sums = A B over `steps` pieces; load(step, a, b) begins the copies of one.
template <Precision kPrecision, class B, class Left, class Right, class Load>
__device__ void accumulate(int steps, Sums<B>& sums, Load load) {
  auto* stages = dynamic_shared<typename B::Stored>();
  constexpr int kStage = Left::kSize + Right::kSize;
  const auto begin = [&](int step) {
    auto* stage = stages + step % B::kStages * kStage;
    if (step < steps) load(step, stage, stage + Left::kSize);
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
    const auto* stage = stages + step % B::kStages * kStage;
    multiply<kPrecision, B, Left, Right>(stage, stage + Left::kSize, sums);
  }
  cp_async_wait<0>();  // for the groups without copies
}

// ---- writing ------------------------------------------------------------------------------------

/// A lane's two columns of each of two neighbouring pieces, 8 columns apart, as four columns of
/// one: lanes swap a pair with their neighbour, so that four lanes write 32 bytes side by side, the
/// least that memory takes. Odd lanes get the second piece. Every lane must call it.
__device__ inline uint2 four_columns(const float (&first)[2], const float (&second)[2]) {
  const uint32_t pair = pack_bf16(first[0], first[1]);
  const uint32_t next = pack_bf16(second[0], second[1]);
  const bool odd = lane() % 2 == 1;
  const uint32_t swapped = shuffle_xor(odd ? pair : next, 1);
  return odd ? make_uint2(swapped, next) : make_uint2(pair, swapped);
}

/// row(m) points to where row m of the tile goes, or is null; of `columns` columns from `first` on.
/// With `together`, kTogether neighbours are written at once: `columns` must be a multiple of them
/// and rows aligned to them.
template <class T>
inline constexpr int kTogether = 8 / sizeof(T);

template <class B, class Row>
__device__ void store(const Sums<B>& sums, int first, int columns, const float* bias, bool together,
                      Row row) {
  const int lane_column = lane() % 4 * 2;
#pragma unroll
  for (int i = 0; i < 2 * B::kPiecesM; ++i) {
    auto* to = row(B::warp_row() + 8 * i + lane() / 4);
    using Result = std::remove_pointer_t<decltype(to)>;
#pragma unroll
    for (int j = 0; j < B::kPiecesN; j += 2) {
      const int column = first + B::warp_column() + 8 * j;
      float values[2][2];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int mine = column + 8 * (e / 2) + lane_column + e % 2;
        values[e / 2][e % 2] = sums[i / 2][j + e / 2][i % 2 * 2 + e % 2];
        if (bias != nullptr && mine < columns) values[e / 2][e % 2] += bias[mine];
      }
      if constexpr (std::is_same_v<Result, bf16>)
        if (together) {
          const uint2 four = four_columns(values[0], values[1]);
          const int at = column + lane() % 2 * 8 + lane() % 4 / 2 * 4;
          if (to != nullptr && at < columns) *reinterpret_cast<uint2*>(to + at) = four;
          continue;
        }
#pragma unroll
      for (int piece = 0; piece < 2; ++piece) {
        const int at = column + 8 * piece + lane_column;
        if (to == nullptr || at >= columns) continue;
        if (together) {
          *reinterpret_cast<float2*>(to + at) = make_float2(values[piece][0], values[piece][1]);
        } else {
          to[at] = Result(values[piece][0]);
          if (at + 1 < columns) to[at + 1] = Result(values[piece][1]);
        }
      }
    }
  }
}

}  // namespace decant::cuda::tile
