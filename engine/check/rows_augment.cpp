#include <algorithm>
#include <cmath>

#include "engine/check/op_row.h"
#include "engine/ops/augment.h"
#include "engine/ops/shape_ops.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;

// `count` positions from `first` to `last` of a source, neighbours mixed.
std::vector<FrameTap> taps(int count, double first, double last) {
  std::vector<FrameTap> result;
  for (int i = 0; i < count; ++i) {
    const double at = first + (last - first) * i / std::max(1, count - 1);
    const auto low = static_cast<int32_t>(at);
    const auto high = static_cast<int32_t>(std::ceil(at));
    result.push_back({low, high, static_cast<int32_t>(at + 0.5), static_cast<float>(at - low)});
  }
  return result;
}

Tensor bytes(int64_t count, double high) {
  const Tensor values = uniform({count}, 0, high, 9);
  Tensor t({count}, DType::u8);
  std::ranges::transform(values.values<double>(), t.mutable_data<uint8_t>(),
                         [](double v) { return static_cast<uint8_t>(v); });
  return t;
}

// Ops write in place; a row returns all that was written as one tensor.
Variable written(const Tensor& images, const Tensor& masks) {
  return concat(
      {Variable(images.reshape({images.size()})), Variable(masks.reshape({masks.size()}))}, 0);
}

// A picture [9, 7, c] with a mask, then one [5, 12, c] without, which are framed as h x w.
std::vector<AugmentPlan> framings(int h, int w, int64_t c) {
  AugmentPlan small = {.image_at = 0,
                       .mask_at = 63 * c,
                       .source_h = 9,
                       .source_w = 7,
                       .rows = taps(h, 0, 8),
                       .columns = taps(w, 1.3, 4.9)};
  AugmentPlan wide = {.image_at = 63 * (c + 1),
                      .source_h = 5,
                      .source_w = 12,
                      .rows = taps(h, 4, 0.2),
                      .columns = taps(w, 0, 11)};
  return {small, wide};
}

void add_frames(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    int h, w;
    int64_t c;
  };
  for (const Case& k : {Case{"larger, three channels", 30, 41, 3}, Case{"one pixel", 1, 1, 3},
                        Case{"smaller, one channel", 4, 3, 1}})
    table.push_back(
        {.op = "frame_images",
         .variant = k.variant,
         .inputs = {randn({1}),  // for its type only
                    bytes(63 * (k.c + 1) + 60 * k.c, 256), augment_table(framings(k.h, k.w, k.c))},
         .call =
             [k](const Inputs& x) {
               const Device device = x[1].value().device();
               const Tensor images({2, k.h, k.w, k.c}, x[0].dtype(), device);
               const Tensor masks({2, k.h, k.w, 1}, x[0].dtype(), device);
               frame_images(x[1].value(), x[2].value(), images, masks);
               return written(images, masks);
             },
         .products = 16,
         .constants = {0, 1, 2}});
}

void add_variations(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    int h, w;
    int64_t c;
    AugmentPlan plan;  // of the second of two images; the first is only normalised
  };
  const Affine turned = Affine::translation(3.1, -1.7) * Affine::rotation(33, 9, 6);
  const Affine far = Affine::translation(-70.3, 45.6) * Affine::scaling(0.31, 1.7);
  const NoisePlan noise = {.key = RngKey::of(3, "n"), .mean = 1, .sigma = 7, .per_channel = true};
  NoisePlan grey_noise = noise;
  grey_noise.per_channel = false;
  const DropoutPlan drop = {
      .key = RngKey::of(3, "d"), .probability = 0.1, .per_channel = false, .colour = {1, 20, 255}};
  DropoutPlan value_drop = drop;
  value_drop.per_channel = true;
  DropoutPlan all = drop;
  all.probability = 1;
  for (const Case& k :
       {Case{"flip", 13, 20, 3, {.flips = true}}, Case{"turn", 30, 41, 3, {.moves = turned}},
        Case{"flip and move far beyond the border", 5, 7, 1, {.flips = true, .moves = far}},
        Case{"move one row", 1, 9, 3, {.moves = turned}},
        Case{"noise", 30, 41, 3, {.noise = noise}},
        Case{"noise alike in all channels", 13, 20, 3, {.noise = grey_noise}},
        Case{"dropout", 30, 41, 3, {.dropout = drop}},
        Case{"dropout per channel", 30, 41, 3, {.dropout = value_drop}},
        Case{"dropout of everything", 13, 20, 1, {.dropout = all}},
        Case{"everything",
             30,
             41,
             3,
             {.flips = true, .moves = turned, .noise = noise, .dropout = drop}}}) {
    std::vector<AugmentPlan> plans(2);
    plans[1] = k.plan;
    for (AugmentPlan& plan : plans) {
      plan.source_h = plan.source_w = 1;
      plan.rows = taps(k.h, 0, 0);
      plan.columns = taps(k.w, 0, 0);
      plan.shift = {124, 116, 104};
      plan.factor = {0.017F, 0.0175F, 0.0174F};
    }
    Tensor masks = uniform({2, k.h, k.w, 1}, 0, 2, 5);
    for (double& v : masks.mutable_values<double>()) v = std::floor(v);
    table.push_back({.op = "vary_images",
                     .variant = k.variant,
                     .inputs = {uniform({2, k.h, k.w, k.c}, 0, 255), masks, augment_table(plans)},
                     .call =
                         [](const Inputs& x) {
                           const Tensor& images = x[0].value();
                           const Tensor& of = x[1].value();
                           const Tensor y(images.shape(), images.dtype(), images.device());
                           const Tensor y_masks(of.shape(), of.dtype(), of.device());
                           vary_images(images, of, x[2].value(), y, y_masks);
                           return written(y, y_masks);
                         },
                     .products = 16,
                     .constants = {0, 1, 2}});
    table.push_back({.op = "normalize_images",
                     .variant = str("for ", k.variant),
                     .inputs = {uniform({2, k.h, k.w, k.c}, 0, 255), augment_table(plans)},
                     .call =
                         [](const Inputs& x) {
                           const Tensor& images = x[0].value();
                           const Tensor y(images.shape(), images.dtype(), images.device());
                           normalize_images(images, x[1].value(), y);
                           return Variable(y);
                         },
                     .constants = {0, 1}});
  }
}

// A draw so close to the middle of the bell that 1 - u is 0 in a float: alone in its image, for an
// error in it to count.
void add_faint_noise(std::vector<OpRow>& table) {
  AugmentPlan plan = {
      .source_h = 1,
      .source_w = 1,
      .rows = taps(1, 0, 0),
      .columns = taps(1, 0, 0),
      .noise =
          NoisePlan{.key = RngKey::of(170'159, "n"), .mean = 0, .sigma = 7, .per_channel = true}};
  table.push_back({.op = "vary_images",
                   .variant = "noise of 0.0002 deviations",
                   .inputs = {Tensor::zeros({1, 1, 1, 1}, DType::f64), augment_table({&plan, 1})},
                   .call =
                       [](const Inputs& x) {
                         const Tensor& image = x[0].value();
                         const Tensor y(image.shape(), image.dtype(), image.device());
                         const Tensor y_mask(image.shape(), image.dtype(), image.device());
                         vary_images(image, image, x[1].value(), y, y_mask);
                         return Variable(y);
                       },
                   .constants = {0, 1}});
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  add_faint_noise(table);
  add_frames(table);
  add_variations(table);
  return table;
}

Tensor zeros(Shape shape, DType dtype = DType::f32) {
  return Tensor::zeros(shape, dtype);
}

std::vector<RejectRow> rejects() {
  const std::vector<AugmentPlan> plans = framings(4, 3, 1);
  const Tensor table = augment_table(plans);
  return {
      {.op = "augment_table",
       .what = "no image",
       .call = [] { augment_table({}); },
       .message = "got none"},
      {.op = "augment_table",
       .what = "results of two sizes",
       .call =
           [plans] {
             std::vector<AugmentPlan> uneven = plans;
             uneven[1].rows = taps(5, 0, 4);
             augment_table(uneven);
           },
       .message = "one size, 3 x 4, got 3 x 5 of image 1"},
      {.op = "augment_table",
       .what = "taps outside of the source",
       .call =
           [plans] {
             std::vector<AugmentPlan> outside = plans;
             outside[0].columns[2].high = 7;
             augment_table(outside);
           },
       .message = "inside of a source of 7 x 9, got others of image 0"},
      {.op = "frame_images",
       .what = "a table of other images",
       .call =
           [table] {
             frame_images(zeros({200}, DType::u8), table, zeros({2, 4, 4, 1}), zeros({2, 4, 4, 1}));
           },
       .message = "for images [2, 4, 4, 1], got "},
      {.op = "frame_images",
       .what = "a store of floats",
       .call =
           [table] { frame_images(zeros({200}), table, zeros({2, 4, 3, 1}), zeros({2, 4, 3, 1})); },
       .message = "expected a store of uint8"},
      {.op = "frame_images",
       .what = "two channels",
       .call =
           [table] {
             frame_images(zeros({200}, DType::u8), table, zeros({2, 4, 3, 2}), zeros({2, 4, 3, 1}));
           },
       .message = "expected 1 or 3 channels, got [2, 4, 3, 2]"},
      {.op = "vary_images",
       .what = "masks of another size",
       .call =
           [table] {
             const Tensor images = zeros({2, 4, 3, 1});
             vary_images(images, zeros({2, 3, 3, 1}), table, zeros({2, 4, 3, 1}), images);
           },
       .message = "float32 [2, 4, 3, 1] on cpu beside images [2, 4, 3, 1], got [2, 3, 3, 1]"},
      {.op = "vary_images",
       .what = "results in place",
       .call =
           [table] {
             const Tensor images = zeros({2, 4, 3, 1});
             const Tensor masks = zeros({2, 4, 3, 1});
             vary_images(images, masks, table, images, zeros({2, 4, 3, 1}));
           },
       .message = "memory of their own"},
      {.op = "normalize_images",
       .what = "a result of another type",
       .call =
           [table] {
             normalize_images(zeros({2, 4, 3, 1}), table, zeros({2, 4, 3, 1}, DType::f64));
           },
       .message = "float32 [2, 4, 3, 1] on cpu beside images"},
  };
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
