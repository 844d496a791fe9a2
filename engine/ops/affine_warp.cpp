#include "engine/ops/affine_warp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/core/view.h"
#include "engine/ops/affine_warp_kernels.h"
#include "engine/ops/expect.h"

namespace decant {
namespace {

// The four pixels around a position and their weights; index -1 lies outside (constant border).
struct Corners {
  std::array<int64_t, 2> rows, columns;
  std::array<double, 2> row_weights, column_weights;
};

// Position i of an endless row that mirrors `extent` pixels about its first and last centre.
int64_t mirrored(int64_t i, int64_t extent) {
  if (extent == 1) return 0;
  const int64_t period = 2 * (extent - 1);
  const int64_t phase = ((i % period) + period) % period;
  return phase < extent ? phase : period - phase;
}

Corners corners_at(double x, double y, int64_t h, int64_t w, Border border) {
  // Far beyond any image a position would not fit an integer; there a border is all there is.
  constexpr double kFar = 1e9;
  x = std::clamp(x, -kFar, kFar);
  y = std::clamp(y, -kFar, kFar);
  const double left = std::floor(x);
  const double top = std::floor(y);
  const auto column = static_cast<int64_t>(left);
  const auto row = static_cast<int64_t>(top);
  const auto place = [border](int64_t i, int64_t extent) {
    if (border == Border::reflect_101) return mirrored(i, extent);
    return i >= 0 && i < extent ? i : -1;
  };
  return {{place(row, h), place(row + 1, h)},
          {place(column, w), place(column + 1, w)},
          {1 - (y - top), y - top},
          {1 - (x - left), x - left}};
}

// From result to source, one map per result image.
std::vector<Affine> inverses(std::span<const Affine> maps, int64_t images) {
  std::vector<Affine> result;
  for (int64_t n = 0; n < images; ++n)
    result.push_back(maps[maps.size() == 1 ? 0 : static_cast<size_t>(n)].inverse());
  return result;
}

constexpr int64_t kTableWidth = 12;

// Each number as two floats that add up to it, the first of which is the nearest.
Tensor table_of(const std::vector<Affine>& maps) {
  Tensor table({static_cast<int64_t>(maps.size()), kTableWidth});
  auto* out = table.mutable_data<float>();
  for (const Affine& map : maps)
    for (const double number : map.m) {
      const auto high = static_cast<float>(number);
      *out++ = high;
      *out++ = static_cast<float>(number - static_cast<double>(high));
    }
  return table;
}

}  // namespace

namespace cpu {
namespace {

void warp_forward(const Tensor& input, const WarpMaps& maps, const WarpOptions& options,
                  Tensor& output) {
  with_real_type(input.dtype(), [&]<class T>() {
    const View<const T> x = view_of<T>(input, "affine_warp");
    const View<T> y = mutable_view_of<T>(output, "affine_warp");
    const T outside = static_cast<T>(options.value);
    const int64_t row_size = std::max<int64_t>(1, y.w * (y.c + 8));
    parallel_ranges(
        y.n * y.h, std::max<int64_t>(1, kElementGrain / row_size), [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row)
            for (int64_t ow = 0; ow < y.w; ++ow) {
              const int64_t n = row / y.h;
              const auto [sx, sy] = maps.to_source[static_cast<size_t>(n)](
                  static_cast<double>(ow), static_cast<double>(row % y.h));
              const Corners at = corners_at(sx, sy, x.h, x.w, options.border);
              T* out = y.pixel(n, row % y.h, ow);
              std::fill_n(out, y.c, T(0));
              for (size_t i = 0; i < 2; ++i)
                for (size_t j = 0; j < 2; ++j) {
                  const T weight = static_cast<T>(at.row_weights[i] * at.column_weights[j]);
                  if (at.rows[i] < 0 || at.columns[j] < 0) {
                    for (int64_t c = 0; c < y.c; ++c) out[c] += weight * outside;
                    continue;
                  }
                  const T* in = x.pixel(n, at.rows[i], at.columns[j]);
                  for (int64_t c = 0; c < y.c; ++c) out[c] += weight * in[c];
                }
            }
        });
  });
}

// Scatters: where a result pixel read, its gradient is added. Images are independent of each other;
// within one, pixels come in order, so that sums have one order.
void warp_backward(const Tensor& gradient, const WarpMaps& maps, const WarpOptions& options,
                   Tensor& result) {
  with_real_type(gradient.dtype(), [&]<class T>() {
    const View<const T> dy = view_of<T>(gradient, "affine_warp");
    const View<T> dx = mutable_view_of<T>(result, "affine_warp");
    parallel_for(dx.n, [&](int64_t n) {
      std::fill_n(dx.pixel(n, 0, 0), dx.h * dx.w * dx.c, T(0));
      for (int64_t oh = 0; oh < dy.h; ++oh)
        for (int64_t ow = 0; ow < dy.w; ++ow) {
          const auto [sx, sy] = maps.to_source[static_cast<size_t>(n)](static_cast<double>(ow),
                                                                       static_cast<double>(oh));
          const Corners at = corners_at(sx, sy, dx.h, dx.w, options.border);
          const T* g = dy.pixel(n, oh, ow);
          for (size_t i = 0; i < 2; ++i)
            for (size_t j = 0; j < 2; ++j) {
              if (at.rows[i] < 0 || at.columns[j] < 0) continue;
              const T weight = static_cast<T>(at.row_weights[i] * at.column_weights[j]);
              T* d = dx.pixel(n, at.rows[i], at.columns[j]);
              for (int64_t c = 0; c < dx.c; ++c) d[c] += weight * g[c];
            }
        }
    });
  });
}

void coverage(const WarpMaps& maps, int64_t source_h, int64_t source_w, Tensor& output) {
  constexpr double kSlack = 1e-6;
  with_real_type(output.dtype(), [&]<class T>() {
    const View<T> y = mutable_view_of<T>(output, "warp_coverage");
    const double right = static_cast<double>(source_w - 1) + kSlack;
    const double bottom = static_cast<double>(source_h - 1) + kSlack;
    parallel_for(y.n * y.h, [&](int64_t row) {
      for (int64_t ow = 0; ow < y.w; ++ow) {
        const auto [sx, sy] = maps.to_source[static_cast<size_t>(row / y.h)](
            static_cast<double>(ow), static_cast<double>(row % y.h));
        const bool inside = sx >= -kSlack && sx <= right && sy >= -kSlack && sy <= bottom;
        *y.pixel(row / y.h, row % y.h, ow) = inside ? T(1) : T(0);
      }
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kWarp =
    register_op({.name = "affine_warp",
                 .formula = "y(p) = x(A^-1 p), bilinear",
                 .source = "Jaderberg et al. 2015, with pixel centres at whole numbers"});
const OpInfo& kCoverage = register_op({.name = "warp_coverage",
                                       .formula = "y(p) = 1 where A^-1 p lies in the source, or 0",
                                       .source = "elementary",
                                       .differentiable = false});

struct SizedWarpOptions {
  int64_t h, w;
  WarpOptions options;
  void visit(auto&& v) const {
    v("h", h);
    v("w", w);
    options.visit(v);
  }
};

void expect_size(const OpInfo& op, int64_t h, int64_t w) {
  check(h >= 1 && w >= 1, op.name, ": expected a size of at least 1 x 1, got ", h, " x ", w);
}

WarpMaps maps_on(Device device, std::vector<Affine> to_source) {
  WarpMaps maps = {std::move(to_source), {}};
  if (device == Device::cuda) maps.table = table_of(maps.to_source).to(device);
  return maps;
}

WarpMaps maps_of(const OpInfo& op, const Tensor& table) {
  check(table.defined() && table.shape().rank() == 2 && table.shape()[1] == kTableWidth &&
            table.device() == Device::cuda,
        op.name, ": expected a table of maps on cuda, got ",
        table.defined() ? table.shape() : Shape{});
  return {{}, table};
}

Variable warp(const Variable& input, const WarpMaps& maps, int64_t h, int64_t w,
              const WarpOptions& options) {
  const Tensor& x = input.value();
  const Shape& s = x.shape();
  Tensor y({s[0], h, w, s[3]}, x.dtype(), x.device());
  ON_DEVICE(x, warp_forward, x, maps, options, y);
  return record(kWarp, SizedWarpOptions{h, w, options}, y, {input},
                [maps, options, s](const Tensor& dy, const Wanted&) {
                  Tensor dx(s, dy.dtype(), dy.device());
                  ON_DEVICE(dy, warp_backward, dy, maps, options, dx);
                  return std::vector<Tensor>{dx};
                });
}

void expect_maps(const Tensor& x, size_t maps) {
  check(maps == 1 || static_cast<int64_t>(maps) == x.shape()[0],
        "affine_warp: expected one map, or one for each image of x ", x.shape(), ", got ", maps);
}

}  // namespace

Tensor warp_table(std::span<const Affine> source_to_result) {
  return table_of(inverses(source_to_result, static_cast<int64_t>(source_to_result.size())));
}

Variable affine_warp(const Variable& x, std::span<const Affine> source_to_result, int64_t h,
                     int64_t w, const WarpOptions& options) {
  expect_real(kWarp, x.value());
  expect_image(kWarp, x.value());
  expect_size(kWarp, h, w);
  expect_maps(x.value(), source_to_result.size());
  return warp(x, maps_on(x.value().device(), inverses(source_to_result, x.shape()[0])), h, w,
              options);
}

Variable affine_warp(const Variable& x, const Tensor& table, int64_t h, int64_t w,
                     const WarpOptions& options) {
  expect_real(kWarp, x.value());
  expect_image(kWarp, x.value());
  expect_size(kWarp, h, w);
  const WarpMaps maps = maps_of(kWarp, table);
  check(table.shape()[0] == x.shape()[0] && x.value().device() == Device::cuda,
        "affine_warp: expected a map for each image of x ", x.shape(), " on cuda, got ",
        table.shape()[0]);
  return warp(x, maps, h, w, options);
}

Tensor warp_coverage(int64_t source_h, int64_t source_w, std::span<const Affine> source_to_result,
                     int64_t h, int64_t w, DType dtype, Device device) {
  expect_size(kCoverage, source_h, source_w);
  expect_size(kCoverage, h, w);
  const auto images = static_cast<int64_t>(source_to_result.size());
  const WarpMaps maps = maps_on(device, inverses(source_to_result, images));
  Tensor y({images, h, w, 1}, dtype, device);
  ON_DEVICE(y, coverage, maps, source_h, source_w, y);
  return y;
}

Tensor warp_coverage(int64_t source_h, int64_t source_w, const Tensor& table, int64_t h,
                     int64_t w) {
  expect_size(kCoverage, source_h, source_w);
  expect_size(kCoverage, h, w);
  const WarpMaps maps = maps_of(kCoverage, table);
  Tensor y({table.shape()[0], h, w, 1}, DType::f32, Device::cuda);
  ON_DEVICE(y, coverage, maps, source_h, source_w, y);
  return y;
}

}  // namespace decant
