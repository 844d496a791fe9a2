#include "engine/ops/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/affine_warp.h"
#include "engine/ops/augment_kernels.h"
#include "engine/ops/expect.h"

namespace decant {
namespace cpu {
namespace {

AugmentTable table_for(const Tensor& table, const Tensor& result) {
  return {table.data<uint8_t>(), result.shape()[1], result.shape()[2]};
}

// f(n, y) for every row of pixels of a batch of results.
template <class F>
void for_rows(const Tensor& result, F&& f) {
  const int64_t h = result.shape()[1];
  parallel_for(result.shape()[0] * h, [&](int64_t row) { f(row / h, row % h); });
}

void frame_kernel(const Tensor& store, const Tensor& table, Tensor& images, Tensor& masks) {
  with_real_type(images.dtype(), [&]<class T>() {
    const uint8_t* bytes = store.data<uint8_t>();
    const AugmentTable plans = table_for(table, images);
    const int64_t c = images.shape()[3];
    T* out = images.mutable_data<T>();
    T* mask_out = masks.mutable_data<T>();
    for_rows(images, [&](int64_t n, int64_t v) {
      const AugmentRow& plan = plans.row(n);
      const FrameTap row = plans.rows(n)[v];
      for (int64_t u = 0; u < plans.w; ++u) {
        const FrameTap column = plans.columns(n)[u];
        const int64_t pixel = (n * plans.h + v) * plans.w + u;
        for (int64_t k = 0; k < c; ++k) {
          const auto x = [&](int64_t sy, int64_t sx) {
            return static_cast<T>(bytes[plan.image_at + (sy * plan.source_w + sx) * c + k]);
          };
          const auto across = [&](int64_t sy) {
            return x(sy, column.low) +
                   static_cast<T>(column.weight) * (x(sy, column.high) - x(sy, column.low));
          };
          const T upper = across(row.low);
          out[pixel * c + k] = upper + static_cast<T>(row.weight) * (across(row.high) - upper);
        }
        mask_out[pixel] =
            plan.mask_at < 0
                ? T(0)
                : static_cast<T>(
                      bytes[plan.mask_at + int64_t{row.nearest} * plan.source_w + column.nearest]);
      }
    });
  });
}

// Position i of an endless row that mirrors `extent` pixels about its first and last centre.
int64_t mirrored(int64_t i, int64_t extent) {
  if (extent == 1) return 0;
  const int64_t phase = std::abs(i) % (2 * (extent - 1));
  return phase < extent ? phase : 2 * (extent - 1) - phase;
}

// A frame as its plan flips it, without end.
template <class T>
struct Mirror {
  const T* image;
  const T* mask;
  int64_t h, w, c;
  bool flips;

  int64_t pixel(int64_t x, int64_t y) const {
    const int64_t column = mirrored(x, w);
    return mirrored(y, h) * w + (flips ? w - 1 - column : column);
  }

  // Bilinear at (x, y) into out [c]; returns the mask at the nearest pixel.
  T sample(double x, double y, T* out) const {
    const auto left = static_cast<int64_t>(std::floor(x));
    const auto top = static_cast<int64_t>(std::floor(y));
    const auto to_right = static_cast<T>(x - std::floor(x));
    const auto down = static_cast<T>(y - std::floor(y));
    for (int64_t k = 0; k < c; ++k) {
      const auto across = [&](int64_t row) {
        const T a = image[pixel(left, row) * c + k];
        return a + to_right * (image[pixel(left + 1, row) * c + k] - a);
      };
      const T upper = across(top);
      out[k] = upper + down * (across(top + 1) - upper);
    }
    return mask[pixel(static_cast<int64_t>(std::floor(x + 0.5)),
                      static_cast<int64_t>(std::floor(y + 0.5)))];
  }
};

// Values [c] of the pixel whose number in its image is `pixel`, as they are in the end.
template <class T>
void finish(const AugmentRow& plan, int64_t pixel, int64_t c, T* x) {
  for (int64_t k = 0; k < c; ++k) {
    const auto value = static_cast<uint64_t>(pixel * c + k);
    if (plan.adds_noise) {
      const double normal =
          plan.noise.normal(plan.noise_per_channel ? value : static_cast<uint64_t>(pixel));
      x[k] = std::clamp(x[k] + static_cast<T>(double{plan.mean} + double{plan.sigma} * normal),
                        T(0), T(255));
    }
    if (plan.drop.bits(plan.drop_per_channel ? value : static_cast<uint64_t>(pixel)) <
        plan.least_kept)
      x[k] = static_cast<T>(plan.colour[k]);
    x[k] = (x[k] - static_cast<T>(plan.shift[k])) * static_cast<T>(plan.factor[k]);
  }
}

void vary_kernel(const Tensor& images, const Tensor& masks, const Tensor& table, Tensor& varied,
                 Tensor& varied_masks) {
  with_real_type(images.dtype(), [&]<class T>() {
    const AugmentTable plans = table_for(table, images);
    const int64_t c = images.shape()[3];
    const T* x = images.data<T>();
    const T* mask = masks.data<T>();
    T* out = varied.mutable_data<T>();
    T* mask_out = varied_masks.mutable_data<T>();
    const int64_t pixels = plans.h * plans.w;
    for_rows(images, [&](int64_t n, int64_t v) {
      const AugmentRow& plan = plans.row(n);
      const Mirror<T> frame = {x + n * pixels * c, mask + n * pixels, plans.h, plans.w, c,
                               plan.flips};
      Affine to_source;
      std::ranges::copy(plan.to_source, to_source.m.begin());
      for (int64_t u = 0; u < plans.w; ++u) {
        const int64_t pixel = v * plans.w + u;
        const auto [sx, sy] = to_source(static_cast<double>(u), static_cast<double>(v));
        T* y = out + (n * pixels + pixel) * c;
        mask_out[n * pixels + pixel] = frame.sample(sx, sy, y);
        finish(plan, pixel, c, y);
      }
    });
  });
}

void normalize_kernel(const Tensor& images, const Tensor& table, Tensor& normalized) {
  with_real_type(images.dtype(), [&]<class T>() {
    const AugmentTable plans = table_for(table, images);
    const int64_t row_size = plans.w * images.shape()[3];
    const T* x = images.data<T>();
    T* y = normalized.mutable_data<T>();
    for_rows(images, [&](int64_t n, int64_t v) {
      const AugmentRow& plan = plans.row(n);
      const int64_t begin = (n * plans.h + v) * row_size;
      for (int64_t i = 0; i < row_size; ++i) {
        const int64_t k = i % images.shape()[3];
        y[begin + i] =
            (x[begin + i] - static_cast<T>(plan.shift[k])) * static_cast<T>(plan.factor[k]);
      }
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kFrame = register_op({.name = "frame_images",
                                    .formula = "y(i, j) = x between rows and columns of taps",
                                    .source = "elementary",
                                    .differentiable = false});
const OpInfo& kVary =
    register_op({.name = "vary_images",
                 .formula = "y(p) = (drop(clamp(x(A^-1 p) + noise)) - shift) factor",
                 .source = "Albumentations 1.3.1",
                 .differentiable = false});
const OpInfo& kNormalize = register_op({.name = "normalize_images",
                                        .formula = "y = (x - shift) factor",
                                        .source = "elementary",
                                        .differentiable = false});

void expect_plan(const AugmentPlan& plan, const AugmentPlan& first, size_t n) {
  check(!plan.rows.empty() && !plan.columns.empty() && plan.rows.size() == first.rows.size() &&
            plan.columns.size() == first.columns.size(),
        "augment_table: expected results of one size, ", first.columns.size(), " x ",
        first.rows.size(), ", got ", plan.columns.size(), " x ", plan.rows.size(), " of image ", n);
  const auto lie_within = [](const std::vector<FrameTap>& taps, int64_t extent) {
    return std::ranges::all_of(taps, [extent](const FrameTap& tap) {
      return std::min({tap.low, tap.high, tap.nearest}) >= 0 &&
             std::max({tap.low, tap.high, tap.nearest}) < extent;
    });
  };
  check(lie_within(plan.rows, plan.source_h) && lie_within(plan.columns, plan.source_w),
        "augment_table: expected taps inside of a source of ", plan.source_w, " x ", plan.source_h,
        ", got others of image ", n);
}

AugmentRow row_of(const AugmentPlan& plan) {
  const NoisePlan noise = plan.noise.value_or(NoisePlan{});
  const DropoutPlan dropout = plan.dropout.value_or(DropoutPlan{});
  const Affine moves = plan.moves.value_or(Affine());
  AugmentRow row = {.image_at = plan.image_at,
                    .mask_at = plan.mask_at,
                    .to_source = {},
                    .split_map = {},
                    .least_kept = static_cast<uint64_t>(std::ceil(dropout.probability * 0x1p32)),
                    .noise = Rng(noise.key),
                    .drop = Rng(dropout.key),
                    .source_w = static_cast<int32_t>(plan.source_w),
                    .mean = static_cast<float>(noise.mean),
                    .sigma = static_cast<float>(noise.sigma),
                    .colour = {},
                    .shift = {},
                    .factor = {},
                    .flips = plan.flips,
                    .moves = plan.moves.has_value(),
                    .adds_noise = plan.noise.has_value(),
                    .noise_per_channel = noise.per_channel,
                    .drop_per_channel = dropout.per_channel};
  std::ranges::copy(moves.inverse().m, row.to_source);
  std::ranges::copy(warp_table({&moves, 1}).values<float>(), row.split_map);
  std::ranges::copy(dropout.colour, row.colour);
  std::ranges::copy(plan.shift, row.shift);
  std::ranges::copy(plan.factor, row.factor);
  return row;
}

void expect_batch(const OpInfo& op, const Tensor& table, const Tensor& images) {
  expect_image(op, images);
  const Shape& s = images.shape();
  check(s[3] == 1 || s[3] == kMostChannels, op.name, ": expected 1 or ", kMostChannels,
        " channels, got ", s);
  check(s[1] * s[2] <= int64_t{1} << 26, op.name, ": expected images of at most 2^26 pixels, got ",
        s);
  const Shape wanted = {s[0], AugmentTable::row_bytes(s[1], s[2])};
  check(table.defined() && table.dtype() == DType::u8 && table.shape() == wanted &&
            table.device() == images.device(),
        op.name, ": expected a table of uint8 ", wanted, " on ", images.device(), " for images ", s,
        ", got ", table.defined() ? table.shape() : Shape{});
}

void expect_beside(const OpInfo& op, const Tensor& images, const Tensor& t, int64_t channels) {
  const Shape& s = images.shape();
  const Shape wanted = {s[0], s[1], s[2], channels};
  check(t.defined() && t.dtype() == images.dtype() && t.shape() == wanted &&
            t.device() == images.device(),
        op.name, ": expected ", images.dtype(), ' ', wanted, " on ", images.device(),
        " beside images ", s, ", got ", t.defined() ? t.shape() : Shape{});
}

}  // namespace

Tensor augment_table(std::span<const AugmentPlan> plans) {
  check(!plans.empty(), "augment_table: expected the plan of an image, got none");
  for (size_t n = 0; n < plans.size(); ++n) expect_plan(plans[n], plans[0], n);
  const auto h = static_cast<int64_t>(plans[0].rows.size());
  const auto w = static_cast<int64_t>(plans[0].columns.size());
  const int64_t row_bytes = AugmentTable::row_bytes(h, w);
  Tensor table = Tensor::zeros({static_cast<int64_t>(plans.size()), row_bytes}, DType::u8);
  auto* to = table.mutable_data<uint8_t>();
  for (const AugmentPlan& plan : plans) {
    const AugmentRow row = row_of(plan);
    std::memcpy(to, &row, sizeof(row));
    uint8_t* taps = to + sizeof(row);
    std::memcpy(taps, plan.rows.data(), plan.rows.size() * sizeof(FrameTap));
    std::memcpy(taps + plan.rows.size() * sizeof(FrameTap), plan.columns.data(),
                plan.columns.size() * sizeof(FrameTap));
    to += row_bytes;
  }
  return table;
}

void frame_images(const Tensor& store, const Tensor& table, Tensor images, Tensor masks) {
  expect_batch(kFrame, table, images);
  expect_beside(kFrame, images, masks, 1);
  check(store.defined() && store.dtype() == DType::u8 && store.device() == images.device(),
        "frame_images: expected a store of uint8 on ", images.device(), " for images ",
        images.shape(), ", got ", store.defined() ? store.shape() : Shape{});
  ON_DEVICE(images, frame_kernel, store, table, images, masks);
}

void vary_images(const Tensor& images, const Tensor& masks, const Tensor& table, Tensor varied,
                 Tensor varied_masks) {
  expect_batch(kVary, table, images);
  expect_beside(kVary, images, masks, 1);
  expect_beside(kVary, images, varied, images.shape()[3]);
  expect_beside(kVary, images, varied_masks, 1);
  check(!varied.shares_storage(images) && !varied_masks.shares_storage(masks),
        "vary_images: expected results in memory of their own, got those of images ",
        images.shape());
  ON_DEVICE(images, vary_kernel, images, masks, table, varied, varied_masks);
}

void normalize_images(const Tensor& images, const Tensor& table, Tensor normalized) {
  expect_batch(kNormalize, table, images);
  expect_beside(kNormalize, images, normalized, images.shape()[3]);
  ON_DEVICE(images, normalize_kernel, images, table, normalized);
}

}  // namespace decant
