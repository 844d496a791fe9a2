// One thread per pixel, all its channels. Framing reads bytes, at most four per value and most of
// them from the cache, and writes floats; varying is bound by the noise's Philox and logarithms
// where there is any, by its one read and one write elsewhere.
#include "engine/cuda/kernel.cuh"
#include "engine/ops/affine_position.cuh"
#include "engine/ops/augment_kernels.h"

namespace decant::cuda {
namespace {

// Between a and b, in the CPU's order of operations.
__device__ float mix(float a, float b, float weight) {
  return a + weight * (b - a);
}

__global__ void frame(const uint8_t* __restrict__ store, AugmentTable plans, int channels,
                      float* __restrict__ images, float* __restrict__ masks, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const int64_t image = i / (plans.h * plans.w);
    const AugmentRow& plan = plans.row(image);
    const FrameTap row = plans.rows(image)[i / plans.w % plans.h];
    const FrameTap column = plans.columns(image)[i % plans.w];
    const auto at = [&](int y, int x) { return static_cast<int64_t>(y) * plan.source_w + x; };
    const uint8_t* source = store + plan.image_at;
    for (int c = 0; c < channels; ++c) {
      const auto across = [&](int y) {
        return mix(static_cast<float>(source[at(y, column.low) * channels + c]),
                   static_cast<float>(source[at(y, column.high) * channels + c]), column.weight);
      };
      images[i * channels + c] = mix(across(row.low), across(row.high), row.weight);
    }
    const bool has_mask = plan.mask_at >= 0;
    masks[i] =
        has_mask ? static_cast<float>(store[plan.mask_at + at(row.nearest, column.nearest)]) : 0.0F;
  }
}

// Rng::normal() in float. The logarithm of u = (b0 + 1) / 2^32 is taken from the side of 1 where u
// lies nearer to it, since a float would round the noise away there; the angle from -1/2 to 1/2 of
// a turn.
__device__ float normal(const Rng& rng, uint64_t element) {
  const auto words = rng.block(element);
  const bool small = words[0] < 0x80000000U;
  const float log_u = small ? logf(static_cast<float>(words[0] + 1U) * 0x1p-32F)
                            : log1pf(static_cast<float>(~words[0]) * -0x1p-32F);
  const float half_turns = static_cast<float>(static_cast<int32_t>(words[1])) * 0x1p-31F;
  return sqrtf(-2.0F * log_u) * cospif(half_turns);
}

__device__ float finished(const AugmentRow& plan, float x, int64_t pixel, int c, int channels) {
  const auto value = static_cast<uint64_t>(pixel * channels + c);
  if (plan.adds_noise) {
    const float noise =
        plan.mean +
        plan.sigma * normal(plan.noise, plan.noise_per_channel ? value : uint64_t(pixel));
    x = fminf(fmaxf(x + noise, 0.0F), 255.0F);
  }
  if (plan.least_kept > 0 &&
      plan.drop.bits(plan.drop_per_channel ? value : uint64_t(pixel)) < plan.least_kept)
    x = plan.colour[c];
  return (x - plan.shift[c]) * plan.factor[c];
}

// The pixels between which a result's pixel lies, as indices into its image; and where.
struct Corners {
  int pixel[2][2];  // [lower row][right column]
  int nearest;
  float across, down;
};

__device__ Corners corners_of(const AugmentRow& plan, int x, int y, int w, int h) {
  const auto at = [&](int column, int row) {
    const int inside = mirrored(column, w);
    return mirrored(row, h) * w + (plan.flips ? w - 1 - inside : inside);
  };
  if (!plan.moves) {
    const int here = at(x, y);
    return {{{here, here}, {here, here}}, here, 0.0F, 0.0F};
  }
  const auto& map = *reinterpret_cast<const WarpRow*>(plan.split_map);
  const Twofold sx = map.at(0, x, y);
  const Twofold sy = map.at(1, x, y);
  const Spot across = spot_of(sx);
  const Spot down = spot_of(sy);
  return {{{at(across.below, down.below), at(across.below + 1, down.below)},
           {at(across.below, down.below + 1), at(across.below + 1, down.below + 1)}},
          at(nearest_to(sx), nearest_to(sy)),
          across.beyond,
          down.beyond};
}

__global__ void vary(const float* __restrict__ images, const float* __restrict__ masks,
                     AugmentTable plans, int channels, float* __restrict__ varied,
                     float* __restrict__ varied_masks, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const int64_t pixels = plans.h * plans.w;
    const int64_t image = i / pixels;
    const int64_t pixel = i % pixels;
    const AugmentRow& plan = plans.row(image);
    const Corners from =
        corners_of(plan, static_cast<int>(pixel % plans.w), static_cast<int>(pixel / plans.w),
                   static_cast<int>(plans.w), static_cast<int>(plans.h));
    const float* x = images + image * pixels * channels;
    for (int c = 0; c < channels; ++c) {
      const auto across = [&](int row) {
        return mix(x[from.pixel[row][0] * channels + c], x[from.pixel[row][1] * channels + c],
                   from.across);
      };
      varied[i * channels + c] =
          finished(plan, mix(across(0), across(1), from.down), pixel, c, channels);
    }
    varied_masks[i] = masks[image * pixels + from.nearest];
  }
}

__global__ void normalize(const float* __restrict__ images, AugmentTable plans, int channels,
                          float* __restrict__ normalized, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const AugmentRow& plan = plans.row(i / (plans.h * plans.w * channels));
    const auto c = i % channels;
    normalized[i] = (images[i] - plan.shift[c]) * plan.factor[c];
  }
}

AugmentTable table_for(const Tensor& table, const Tensor& result) {
  return {table.device_data<uint8_t>(), result.shape()[1], result.shape()[2]};
}
int channels_of(const Tensor& images) {
  return static_cast<int>(images.shape()[3]);
}

}  // namespace

void frame_kernel(const Tensor& store, const Tensor& table, Tensor& images, Tensor& masks) {
  launch("frame_images", frame, grid_over(masks.size()), store.device_data<uint8_t>(),
         table_for(table, images), channels_of(images), images.mutable_device_data<float>(),
         masks.mutable_device_data<float>(), masks.size());
}

void vary_kernel(const Tensor& images, const Tensor& masks, const Tensor& table, Tensor& varied,
                 Tensor& varied_masks) {
  launch("vary_images", vary, grid_over(masks.size()), images.device_data<float>(),
         masks.device_data<float>(), table_for(table, images), channels_of(images),
         varied.mutable_device_data<float>(), varied_masks.mutable_device_data<float>(),
         masks.size());
}

void normalize_kernel(const Tensor& images, const Tensor& table, Tensor& normalized) {
  launch("normalize_images", normalize, grid_over(images.size()), images.device_data<float>(),
         table_for(table, images), channels_of(images), normalized.mutable_device_data<float>(),
         images.size());
}

}  // namespace decant::cuda
