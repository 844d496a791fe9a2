#pragma once

#include <span>
#include <string_view>

#include "engine/autograd/variable.h"
#include "engine/core/affine.h"

namespace decant {

/// What lies outside of an image: its mirror image about the outermost pixel centres
/// (dcb|abcd|cba), or a constant.
enum class Border : uint8_t { reflect_101, constant };

constexpr std::string_view name_of(Border border) {
  return border == Border::reflect_101 ? "reflect_101" : "constant";
}

struct WarpOptions {
  Border border = Border::reflect_101;
  double value = 0;  ///< of Border::constant

  void visit(auto&& v) const {
    v("border", name_of(border));
    v("value", value);
  }
};

/// Moves the pixels of images (or of feature maps) by affine maps of the plane.
///   x [N, H, W, C], one map per image or one for all -> y [N, h, w, C]
///   y at (u, v) = x sampled bilinearly at source_to_result^-1 (u, v)
/// Maps are stored forward, source -> result, with pixel centres at whole numbers (core/affine.h).
/// Gradients flow to x, not to the maps.
/// Throws Error for a map that cannot be inverted, and for another number of maps than 1 or N.
Variable affine_warp(const Variable& x, std::span<const Affine> source_to_result, int64_t h,
                     int64_t w, const WarpOptions& options = {});

/// The same by maps on cuda: warp_table() of one map per image, where x lies. For recorded steps
/// (cuda/step_graph.h), which find in it what was copied there since; the call above uploads one.
Variable affine_warp(const Variable& x, const Tensor& table, int64_t h, int64_t w,
                     const WarpOptions& options = {});

/// Maps as cuda reads them: float32 [maps, 12] on the CPU. Each number of a map's inverse is the
/// sum of two.
Tensor warp_table(std::span<const Affine> source_to_result);

/// Where affine_warp of a source of H x W pixels samples inside of it: 1, elsewhere 0.
///   one map per result image -> [maps, h, w, 1]
/// Inside means between the outermost pixel centres, a millionth of a pixel allowed for rounding.
Tensor warp_coverage(int64_t source_h, int64_t source_w, std::span<const Affine> source_to_result,
                     int64_t h, int64_t w, DType dtype = DType::f32, Device device = Device::cpu);
/// The same by a table on cuda, and there.
Tensor warp_coverage(int64_t source_h, int64_t source_w, const Tensor& table, int64_t h, int64_t w);

}  // namespace decant
