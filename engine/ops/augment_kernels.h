#pragma once

#include "engine/core/host_device.h"
#include "engine/ops/augment.h"

namespace decant {

/// The head of a table's row; the taps of the rows, then those of the columns follow.
struct alignas(16) AugmentRow {
  int64_t image_at, mask_at;
  double to_source[6];  // inverse of `moves`: for the CPU
  float split_map[12];  // the same as warp_table() has it: for cuda, which has no double
  uint64_t least_kept;  // of 32 random bits; 0 drops nothing
  Rng noise, drop;
  int32_t source_w;
  float mean, sigma;
  float colour[kMostChannels];
  float shift[kMostChannels];
  float factor[kMostChannels];
  bool flips, moves, adds_noise, noise_per_channel, drop_per_channel;
};

/// A table of N images of h x w, in memory of either device.
struct AugmentTable {
  const uint8_t* bytes;
  int64_t h, w;

  HOST_DEVICE static int64_t row_bytes(int64_t h, int64_t w) {
    return static_cast<int64_t>(sizeof(AugmentRow)) +
           (h + w) * static_cast<int64_t>(sizeof(FrameTap));
  }
  HOST_DEVICE const AugmentRow& row(int64_t n) const {
    return *reinterpret_cast<const AugmentRow*>(bytes + n * row_bytes(h, w));
  }
  HOST_DEVICE const FrameTap* rows(int64_t n) const {
    return reinterpret_cast<const FrameTap*>(&row(n) + 1);
  }
  HOST_DEVICE const FrameTap* columns(int64_t n) const { return rows(n) + h; }
};

namespace cuda {

void frame_kernel(const Tensor& store, const Tensor& table, Tensor& images, Tensor& masks);
void vary_kernel(const Tensor& images, const Tensor& masks, const Tensor& table, Tensor& varied,
                 Tensor& varied_masks);
void normalize_kernel(const Tensor& images, const Tensor& table, Tensor& normalized);

}  // namespace cuda
}  // namespace decant
