#include <cmath>

#include "engine/check/op_row.h"
#include "engine/ops/affine_warp.h"
#include "engine/ops/pool.h"
#include "engine/ops/resize.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;

void add_pools(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    Shape x;
    PoolOptions options;
    bool large = false;
  };
  const Case cases[] = {
      {"2 x 2", {2, 4, 6, 3}, {}},
      {"a rest that no window covers", {1, 5, 7, 2}, {}},
      {"overlapping, padded", {2, 5, 6, 3}, {.kernel = 3, .stride = 2, .padding = 1}},
      {"stride 1", {1, 4, 5, 2}, {.kernel = 3, .stride = 1, .padding = 1}},
      {"stride beyond the window", {1, 7, 8, 2}, {.kernel = 2, .stride = 3}},
      {"one window, mostly padding", {1, 2, 2, 1}, {.kernel = 4, .stride = 1, .padding = 1}},
      {"four channels", {1, 5, 6, 4}, {.kernel = 3, .stride = 2, .padding = 1}},
      {"many rows", {2, 65, 67, 12}, {.kernel = 3, .stride = 2, .padding = 1}, true},
      {"long sums", {1, 33, 35, 5}, {.kernel = 12, .stride = 5, .padding = 3}, true},
  };
  for (const Case& c : cases) {
    table.push_back({.op = "max_pool2d",
                     .variant = c.variant,
                     .inputs = {distinct(c.x, c.large ? 1e-4 : 0.1)},
                     .call = [o = c.options](const Inputs& x) { return max_pool2d(x[0], o); },
                     .large = c.large});
    table.push_back({.op = "avg_pool2d",
                     .variant = c.variant,
                     .inputs = {randn(c.x)},
                     .call = [o = c.options](const Inputs& x) { return avg_pool2d(x[0], o); },
                     .products = static_cast<double>(c.options.kernel * c.options.kernel),
                     .large = c.large});
  }
  struct Adaptive {
    const char* variant;
    Shape x;
    int64_t h, w;
    bool large = false;
  };
  for (const Adaptive& c : {Adaptive{"to one pixel", {2, 3, 4, 3}, 1, 1},
                            Adaptive{"windows that overlap", {1, 5, 7, 2}, 3, 4},
                            Adaptive{"more pixels than there are", {1, 2, 3, 2}, 4, 5},
                            Adaptive{"one pixel of many", {3, 40, 45, 17}, 1, 1, true},
                            Adaptive{"many rows", {2, 64, 64, 9}, 24, 20, true}})
    table.push_back(
        {.op = "adaptive_avg_pool2d",
         .variant = c.variant,
         .inputs = {randn(c.x)},
         .call = [h = c.h, w = c.w](const Inputs& x) { return adaptive_avg_pool2d(x[0], h, w); },
         .products = static_cast<double>(c.x[1] * c.x[2]),
         .large = c.large});
}

void add_resizes(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    Shape x;
    int64_t h, w;
    bool large = false;
  };
  const Case cases[] = {
      {"twice as large", {2, 3, 4, 3}, 6, 8},
      {"other sizes", {1, 3, 5, 2}, 7, 4},
      {"smaller", {1, 7, 9, 1}, 3, 4},
      {"the same size", {1, 3, 4, 2}, 3, 4},
      {"from one pixel", {2, 1, 1, 3}, 3, 2},
      {"to one pixel", {1, 4, 5, 2}, 1, 1},
      {"many rows", {2, 30, 31, 9}, 61, 60, true},
      {"much larger", {1, 3, 3, 2}, 64, 70, true},
      {"eight channels", {2, 3, 4, 8}, 5, 7},
  };
  struct Mode {
    const char* name;
    ResizeOptions options;
  };
  const Mode modes[] = {
      {"nearest", {}},
      {"bilinear", {.mode = Interpolation::bilinear}},
      {"bilinear, corners aligned", {.mode = Interpolation::bilinear, .align_corners = true}}};
  for (const Mode& mode : modes)
    for (const Case& c : cases) {
      const auto along = [](int64_t in, int64_t out) {  // taps of a pixel's gradient
        return 2.0 * static_cast<double>(out) / static_cast<double>(in) + 2;
      };
      table.push_back({.op = "resize",
                       .variant = str(mode.name, ", ", c.variant),
                       .inputs = {randn(c.x)},
                       .call = [h = c.h, w = c.w, o = mode.options](
                                   const Inputs& x) { return resize(x[0], h, w, o); },
                       .products = along(c.x[1], c.h) * along(c.x[2], c.w),
                       .large = c.large});
    }
  table.push_back({.op = "upsample_concat",
                   .variant = "twice as large",
                   .inputs = {randn({2, 2, 3, 3}, 1), randn({2, 4, 6, 2}, 2)},
                   .call = [](const Inputs& x) { return upsample_concat(x[0], x[1]); },
                   .products = 4});
  table.push_back({.op = "upsample_concat",
                   .variant = "the size of the skip is odd",
                   .inputs = {randn({1, 2, 3, 2}, 1), randn({1, 3, 5, 4}, 2)},
                   .call = [](const Inputs& x) { return upsample_concat(x[0], x[1]); },
                   .products = 4});
  table.push_back({.op = "upsample_concat",
                   .variant = "no skip",
                   .inputs = {randn({2, 2, 3, 3})},
                   .call = [](const Inputs& x) { return upsample_concat(x[0]); },
                   .products = 4});
  table.push_back({.op = "upsample_concat",
                   .variant = "equal channels, many rows",
                   .inputs = {randn({2, 20, 21, 16}, 1), randn({2, 40, 42, 16}, 2)},
                   .call = [](const Inputs& x) { return upsample_concat(x[0], x[1]); },
                   .products = 4,
                   .large = true});
}

void add_warps(std::vector<OpRow>& table) {
  struct Case {
    const char* variant;
    Shape x;
    std::vector<Affine> maps;
    int64_t h, w;
    bool large = false;
  };
  const Affine turned = Affine::rotation(33, 2, 1.5);
  const Affine shrunk = Affine::translation(0.4, 1.7) * Affine::scaling(0.6, 0.8);
  const Case cases[] = {
      {"one map for all", {2, 4, 5, 3}, {turned}, 4, 5},
      {"one map per image", {2, 4, 5, 2}, {turned, shrunk}, 4, 5},
      {"to another size", {1, 4, 5, 2}, {shrunk}, 6, 3},
      {"mirrored", {1, 3, 4, 2}, {{{-1, 0, 3, 0, 1, 0}}}, 3, 4},
      {"far outside", {1, 3, 4, 1}, {Affine::translation(23.3, -17.6)}, 3, 4},
      {"thousands of pixels outside", {1, 3, 4, 2}, {Affine::scaling(0.001, 0.002)}, 3, 4},
      {"beyond all integers", {1, 3, 4, 2}, {Affine::translation(1e30, -1e30)}, 2, 3},
      {"one row", {1, 1, 5, 2}, {Affine::translation(0.25, 0.5)}, 2, 5},
      {"many rows", {3, 40, 41, 6}, {Affine::rotation(-20, 20, 20)}, 40, 41, true},
  };
  for (const Border border : {Border::reflect_101, Border::constant})
    for (const Case& c : cases)
      table.push_back({.op = "affine_warp",
                       .variant = str(c.variant, ", ", name_of(border)),
                       .inputs = {randn(c.x)},
                       .call =
                           [maps = c.maps, h = c.h, w = c.w, border](const Inputs& x) {
                             return affine_warp(x[0], maps, h, w,
                                                {.border = border, .value = -0.7});
                           },
                       .products = 16,
                       .large = c.large});
  table.push_back({.op = "warp_coverage",
                   .variant = "two maps",
                   .inputs = {randn({1})},  // for its type only
                   .call =
                       [turned, shrunk](const Inputs& x) {
                         const Affine maps[] = {turned, shrunk};
                         return Variable(
                             warp_coverage(4, 5, maps, 30, 7, x[0].dtype(), x[0].value().device()));
                       },
                   .constants = {0}});
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  add_pools(table);
  add_resizes(table);
  add_warps(table);
  return table;
}

Variable zeros(Shape shape) {
  return Variable(Tensor::zeros(shape));
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "max_pool2d",
       .what = "an image smaller than the window",
       .call = [] { max_pool2d(zeros({1, 2, 5, 1}), {.kernel = 3}); },
       .message = "holds a window of 3 with padding 0, got [1, 2, 5, 1]"},
      {.op = "max_pool2d",
       .what = "padding beyond half the kernel",
       .call = [] { max_pool2d(zeros({1, 5, 5, 1}), {.kernel = 3, .padding = 2}); },
       .message = "padding 2"},
      {.op = "max_pool2d",
       .what = "a window of more places than an int32 counts",
       .call = [] { max_pool2d(zeros({1, 46341, 46341, 0}), {.kernel = 46341}); },
       .message = "kernel from 1 to 46340"},
      {.op = "max_pool2d",
       .what = "padding of which twice is no number",
       .call = [] { max_pool2d(zeros({1, 5, 5, 1}), {.kernel = 3, .padding = INT64_MAX}); },
       .message = "padding 9223372036854775807"},
      {.op = "avg_pool2d",
       .what = "rank 3",
       .call = [] { avg_pool2d(zeros({5, 5, 1}), {}); },
       .message = "expected [N, H, W, C] with pixels, got [5, 5, 1]"},
      {.op = "adaptive_avg_pool2d",
       .what = "no pixels",
       .call = [] { adaptive_avg_pool2d(zeros({1, 5, 5, 1}), 0, 1); },
       .message = "got 0 x 1 for x [1, 5, 5, 1]"},
      {.op = "resize",
       .what = "no pixels",
       .call = [] { resize(zeros({1, 5, 5, 1}), 3, 0); },
       .message = "got 3 x 0 for x [1, 5, 5, 1]"},
      {.op = "resize",
       .what = "nearest with corners aligned",
       .call = [] { resize(zeros({1, 5, 5, 1}), 3, 3, {.align_corners = true}); },
       .message = "expected bilinear for align_corners"},
      {.op = "upsample_concat",
       .what = "other batches",
       .call = [] { upsample_concat(zeros({1, 5, 5, 1}), zeros({2, 9, 9, 1})); },
       .message = "x [1, 5, 5, 1] and skip [2, 9, 9, 1]"},
      {.op = "affine_warp",
       .what = "another number of maps",
       .call =
           [] {
             const Affine maps[2];
             affine_warp(zeros({3, 2, 2, 1}), maps, 2, 2);
           },
       .message = "one for each image of x [3, 2, 2, 1], got 2"},
      {.op = "Affine::inverse",
       .what = "a map onto a line",
       .call =
           [] {
             const Affine flat = Affine::scaling(1, 0);
             affine_warp(zeros({1, 2, 2, 1}), {&flat, 1}, 2, 2);
           },
       .message = "determinant"},
      {.op = "Affine::inverse",
       .what = "a map to nowhere",
       .call =
           [] {
             const Affine nowhere = Affine::translation(NAN, 0);
             affine_warp(zeros({1, 2, 2, 1}), {&nowhere, 1}, 2, 2);
           },
       .message = "expected finite numbers"},
      {.op = "Affine::inverse",
       .what = "a map to infinity",
       .call =
           [] {
             const Affine infinity = Affine::scaling(INFINITY, 1);
             warp_coverage(2, 2, {&infinity, 1}, 2, 2);
           },
       .message = "expected finite numbers"},
      {.op = "warp_coverage",
       .what = "no pixels",
       .call = [] { warp_coverage(0, 2, std::span<const Affine>(), 2, 2); },
       .message = "got 0 x 2"},
  };
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
