#pragma once

#include "engine/cuda/kernel.cuh"
#include "engine/cuda/vectors.cuh"
#include "engine/ops/reduce_kernels.h"

// Kernels over x [outer, length, inner] that meet all rows of a column: each thread stays with
// kWidth neighbouring columns of inner and takes every slots-th row of its block's chunk. Threads
// of a block are ordered as memory is, images, then rows, then columns, so that they read what lies
// side by side. All numbers follow from the shape.

namespace decant::cuda {

inline constexpr int kColumnThreads = 256;

struct Tiles {
  int64_t outer, length, inner;  // inner: groups of kWidth columns
  int64_t chunk, chunks;         // rows of a block, blocks along length
  int64_t bands;                 // blocks along inner
  int images, slots, columns;    // threads of a block along outer, length and inner

  int64_t blocks() const { return divide_up(outer, images) * chunks * bands; }
  Grid grid() const { return {.blocks = blocks_for(blocks(), 1), .threads = kColumnThreads}; }
};

/// Tiles of x [outer, length, inner] with at least kRows rows per thread where there are as many,
/// and at most `band` column groups per block; the rows are cut into chunks as long as there are
/// fewer than `wanted_blocks`, and only where a block takes no more than one image.
inline Tiles tiles_of(Middle m, int width, int64_t wanted_blocks, int64_t band = 32) {
  constexpr int64_t kRows = 8;
  Tiles t = {};
  t.outer = m.outer;
  t.length = m.length;
  t.inner = m.inner / width;
  t.bands = divide_up(t.inner, band);
  t.columns = static_cast<int>(divide_up(t.inner, std::max<int64_t>(t.bands, 1)));
  const int64_t room = kColumnThreads / std::max(t.columns, 1);
  t.slots = static_cast<int>(std::clamp<int64_t>(divide_up(t.length, kRows), 1, room));
  t.images = static_cast<int>(std::clamp<int64_t>(t.outer, 1, room / t.slots));
  const int64_t most = std::max<int64_t>(1, divide_up(t.length, t.slots * kRows));
  const int64_t blocks = std::max<int64_t>(1, divide_up(t.outer, t.images) * t.bands);
  const int64_t chunks = std::clamp<int64_t>(wanted_blocks / blocks, 1, most);
  t.chunk = std::max<int64_t>(1, divide_up(divide_up(t.length, chunks), t.slots)) * t.slots;
  t.chunks = std::max<int64_t>(1, divide_up(t.length, t.chunk));
  return t;
}

/// Where a thread works: rows first, first + slots, .. below end of column group `column`.
struct Spot {
  int64_t image, column, chunk, first, end;
  int slot;
  bool inside;
};

__device__ inline Spot spot_of(const Tiles& t) {
  const int64_t block = blockIdx.x;
  const auto thread = static_cast<int>(threadIdx.x);
  const int row = thread / t.columns;
  Spot s;
  s.column = block % t.bands * t.columns + thread % t.columns;
  s.chunk = block / t.bands % t.chunks;
  s.image = block / t.bands / t.chunks * t.images + row / t.slots;
  s.slot = row % t.slots;
  s.first = s.chunk * t.chunk + s.slot;
  s.end = min(t.length, (s.chunk + 1) * t.chunk);
  s.inside = row < t.images * t.slots && s.image < t.outer && s.column < t.inner;
  return s;
}

// ---- reductions ---------------------------------------------------------------------------------

// What is reduced is three types. A State is what is known of some elements of a column:
//   static State neutral();  void merge(const State& of_later_rows);
// A Source is asked once by every thread for what adds up its kWidth columns, from `column` of
// inner on, of an image of outer, and may keep in registers what it knows of them; that adds one
// row at a time, the elements from `at` on, to as many states:
//   template <int kWidth> Columns columns(int64_t image, int64_t column) const;
//   void Columns::add(State (&states)[kWidth], int64_t at);
// A Sink gets the result of column `at` of [outer, inner]:
//   void operator()(int64_t at, const State& state) const;

// Where several blocks share columns: what each found, [outer, chunks, inner] of kWidth, and a
// counter for every group of blocks.
template <class State>
struct Shared {
  State* partial;
  unsigned* arrived;
};

// Merges the states of `slots` threads that lie `apart`, kWidth of each, in a tree: slot 0 has the
// result. All threads of the block must call it.
template <int kWidth, class States>
__device__ void merge_slots(States& states, bool inside, int slot, int slots, int apart) {
  const int thread = static_cast<int>(threadIdx.x);
  int reach = 1;
  while (reach < slots) reach *= 2;
  for (reach /= 2; reach > 0; reach /= 2) {
    __syncthreads();
    if (inside && slot < reach && slot + reach < slots)
      for (int k = 0; k < kWidth; ++k) {
        auto& low = states[k * kColumnThreads + thread];
        low.merge(states[k * kColumnThreads + thread + reach * apart]);
      }
  }
}

// Each thread its rows, in order, then a tree over the slots of the block. Where blocks share
// columns, the last of them to finish does the same with what all have found: in the order of the
// rows, whoever was last.
template <class State, int kWidth, class Source, class Sink>
__global__ void reduce_columns(Tiles t, Source source, Sink sink, Shared<State> shared) {
  SHARED(states, State[kColumnThreads * kWidth]);
  const Spot s = spot_of(t);
  const int thread = static_cast<int>(threadIdx.x);
  State mine[kWidth];
  for (State& state : mine) state = State::neutral();
  if (s.inside) {
    auto columns = source.template columns<kWidth>(s.image, s.column * kWidth);
    int64_t at = ((s.image * t.length + s.first) * t.inner + s.column) * kWidth;
    const int64_t step = t.slots * t.inner * kWidth;
#pragma unroll 4
    for (int64_t row = s.first; row < s.end; row += t.slots, at += step) columns.add(mine, at);
  }
#pragma unroll
  for (int k = 0; k < kWidth; ++k) states[k * kColumnThreads + thread] = mine[k];
  merge_slots<kWidth>(states, s.inside, s.slot, t.slots, t.columns);
  if (s.inside && s.slot == 0)
    for (int k = 0; k < kWidth; ++k) {
      const State state = states[k * kColumnThreads + thread];
      const int64_t at = (s.image * t.chunks + s.chunk) * t.inner * kWidth + s.column * kWidth + k;
      t.chunks == 1 ? sink(at, state) : void(shared.partial[at] = state);
    }
  if (t.chunks == 1) return;

  const int64_t block = blockIdx.x;
  const int64_t image = block / t.bands / t.chunks;
  const int64_t band = block % t.bands;
  if (!last_of(static_cast<unsigned>(t.chunks), shared.arrived + image * t.bands + band)) return;
  const int width = t.columns * kWidth;
  const int lanes = kColumnThreads / width;
  const int lane = thread / width;
  const int64_t column = band * width + thread % width;
  const bool inside = lane < lanes && column < t.inner * kWidth;
  State merged = State::neutral();
  if (inside) {
#pragma unroll 4
    for (int64_t chunk = lane; chunk < t.chunks; chunk += lanes)
      merged.merge(shared.partial[(image * t.chunks + chunk) * t.inner * kWidth + column]);
  }
  __syncthreads();
  states[thread] = merged;
  merge_slots<1>(states, inside, lane, lanes, width);
  if (inside && lane == 0) sink(image * t.inner * kWidth + column, State(states[thread]));
}

/// Tiles of reduce_middle.
template <int kWidth>
Tiles reduction_tiles(Middle m) {
  constexpr int64_t kBlocks = 264;  // two for each multiprocessor of the largest cards
  constexpr int64_t kBand = 8;      // a line of the cache: the last block has less to merge
  static_assert(kBand * kWidth <= kColumnThreads && kBlocks <= kArrivalCounters);
  return tiles_of(m, kWidth, kBlocks, kBand);
}

/// Reduces the middle of [outer, length, inner]: reads each element once. Where one block per
/// column leaves the card idle, several share it.
template <class State, int kWidth, class Source, class Sink>
void reduce_middle(const Where& op, Middle m, const Source& source, const Sink& sink) {
  if (m.outer * m.inner == 0) return;
  const Tiles t = reduction_tiles<kWidth>(m);
  Tensor memory;
  Shared<State> shared = {nullptr, nullptr};
  if (t.chunks > 1) {
    const int64_t bytes = m.outer * t.chunks * m.inner * static_cast<int64_t>(sizeof(State));
    memory = Tensor({bytes}, DType::u8, Device::cuda);
    shared = {reinterpret_cast<State*>(memory.mutable_device_data<uint8_t>()), arrival_counters()};
  }
  launch(op, reduce_columns<State, kWidth, Source, Sink>, t.grid(), t, source, sink, shared);
}

}  // namespace decant::cuda
