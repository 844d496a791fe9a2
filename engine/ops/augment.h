#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "engine/core/affine.h"
#include "engine/core/rng.h"
#include "engine/core/tensor.h"

namespace decant {

// Augmentation of whole batches where the network computes. Decoded pictures lie there as bytes;
// what is to be done to each is drawn on the host, which writes it down as one small table; kernels
// do it, one after the other:
//   store --frame_images--> grey levels --vary_images-------> what the network learns from
//                                       `-normalize_images--> the teacher's plain view
// Nothing here is differentiable. C is 1 or 3. Results are written into the given tensors, so that
// a recorded step (cuda/step_graph.h) finds them in place. Error names the op and both shapes.

inline constexpr int kMostChannels = 3;

/// Position i of a result's row or column in its source: an image is
/// x[low] + weight (x[high] - x[low]) there, a mask x[nearest].
struct FrameTap {
  int32_t low, high, nearest;
  float weight;
};

struct NoisePlan {
  RngKey key;
  double mean, sigma;  ///< in grey levels
  bool per_channel;    ///< else the same for all channels of a pixel
};

struct DropoutPlan {
  RngKey key;
  double probability;
  bool per_channel;
  std::array<float, kMostChannels> colour;  ///< of what is dropped
};

/// What happens to one image of a batch, in the order of the members.
struct AugmentPlan {
  int64_t image_at = 0;  ///< first byte of [source_h, source_w, C] in the store
  int64_t mask_at = -1;  ///< the same of its mask [source_h, source_w]; -1: none, its mask is 0
  int64_t source_h = 0;
  int64_t source_w = 0;
  std::vector<FrameTap> rows = {};     ///< [h] of the result
  std::vector<FrameTap> columns = {};  ///< [w]

  bool flips = false;  ///< left and right
  std::optional<Affine> moves =
      {};  ///< frame to result, beyond the frame its mirror image (dcb|abcd)
  std::optional<NoisePlan> noise = {};
  std::optional<DropoutPlan> dropout = {};
  std::array<float, kMostChannels> shift = {};  ///< y = (x - shift) factor
  std::array<float, kMostChannels> factor = {1, 1, 1};
};

/// The plans of a batch as both devices read them: u8 [N, bytes], on the CPU, a few kilobytes per
/// image. Throws Error where results would differ in size, a tap leaves its source, or a map cannot
/// be inverted.
Tensor augment_table(std::span<const AugmentPlan> plans);

/// Resizes and crops by taps.
///   store u8 [bytes], table u8 [N, ..] -> images [N, h, w, C], masks [N, h, w, 1], of one type
///   image = upper + row.weight (lower - upper), where upper and lower mix two columns likewise
/// The table is not looked at on the device: its plans must fit the store.
void frame_images(const Tensor& store, const Tensor& table, Tensor images, Tensor masks);

/// Flips, moves, adds noise, drops pixels, normalises: whatever the plan of each image says.
///   images [N, h, w, C] in grey levels, masks [N, h, w, 1] -> varied, varied_masks alike
///   x = images at moves^-1 (u, v), bilinear; the mask at the nearest, floor(p + 1/2)
///   x = clamp(x + mean + sigma normal(key, element), 0, 255)
///   x = colour where uniform(key, element) < probability
///   varied = (x - shift) factor
/// element counts values in the order of memory (per channel), or pixels. On cuda positions are the
/// CPU's to 1e-9 pixel: the mask of a pixel nearer than that to a tie may be its other neighbour's.
/// Source: Albumentations 1.3.1, as data/augment/ has it.
void vary_images(const Tensor& images, const Tensor& masks, const Tensor& table, Tensor varied,
                 Tensor varied_masks);

/// normalized = (images - shift) factor, [N, h, w, C]
void normalize_images(const Tensor& images, const Tensor& table, Tensor normalized);

}  // namespace decant
