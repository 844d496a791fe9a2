#pragma once

#include "engine/cuda/kernel.cuh"
#include "engine/ops/loss_kernels.h"

// The mean of what threads have summed where a mask lets them: each block adds up its threads, then
// one block the blocks.

namespace decant::cuda {

/// Calls f.operator()<T>() with the type of a mask, of labels or of targets.
template <class F>
void with_number_type(const char* op, DType dtype, F&& f) {
  with_type(dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, float> || std::is_integral_v<T>)
      f.template operator()<T>();
    else
      throw Error(str(op, ": expected float32 or whole numbers on cuda, got ", dtype));
  });
}

/// What a mask says of element i: 1 counts, 0 does not.
struct MaskView {
  const uint8_t* mask;  // nullptr: all count
  int64_t repeats;

  explicit MaskView(const Counted& counted)
      : mask(counted.mask.defined() ? counted.mask.device_data<uint8_t>() : nullptr),
        repeats(counted.repeats) {}

  __device__ uint8_t operator[](int64_t i) const {
    return mask == nullptr ? 1 : mask[repeats == 1 ? i : i / repeats];
  }
};

/// A part of a loss: the sum of its terms, their number, and how many values were refused.
struct LossPart {
  int64_t count;
  float sum;
  int refused;

  __device__ void add(float term) {
    sum += term;
    ++count;
  }
};
struct AddParts {
  __device__ LossPart operator()(const LossPart& a, const LossPart& b) const {
    return {a.count + b.count, a.sum + b.sum, a.refused + b.refused};
  }
};

/// All threads of the block must call it.
__device__ inline void store_part(const LossPart& mine, LossPart* parts) {
  const LossPart block = block_reduce(mine, LossPart{}, AddParts());
  if (threadIdx.x == 0) parts[blockIdx.x] = block;
}

/// factor times the mean of all parts (losses.cu); the mean of nothing is 0.
Mean finish_mean(const Where& op, const LossPart* parts, unsigned count, float factor);

/// The mean of the parts that sum(grid, parts) launches a kernel to store, one part per block; a
/// grid of at most 1024 blocks, so that kernels go over their elements in strides.
template <class F>
Mean mean_of(const Where& op, Grid grid, float factor, F&& sum) {
  constexpr unsigned kBlocks = 1024;
  const unsigned blocks = std::clamp(grid.blocks.x, 1U, kBlocks);
  grid.blocks = blocks;
  Tensor memory({static_cast<int64_t>(blocks * sizeof(LossPart))}, DType::u8, Device::cuda);
  auto* parts = reinterpret_cast<LossPart*>(memory.mutable_device_data<uint8_t>());
  sum(grid, parts);
  return finish_mean(op, parts, blocks, factor);
}

}  // namespace decant::cuda
