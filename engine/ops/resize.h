#pragma once

#include <string_view>

#include "engine/autograd/variable.h"

namespace decant {

enum class Interpolation : uint8_t { nearest, bilinear };

constexpr std::string_view name_of(Interpolation mode) {
  return mode == Interpolation::nearest ? "nearest" : "bilinear";
}

struct ResizeOptions {
  Interpolation mode = Interpolation::nearest;
  bool align_corners = false;  ///< bilinear only

  void visit(auto&& v) const {
    v("mode", name_of(mode));
    v("align_corners", align_corners);
  }
};

/// Another number of pixels for the same image.
///   x [N, H, W, C] -> y [N, h, w, C]; along each axis of n pixels resized to m, pixel i samples at
///   nearest:                  floor(i n / m)
///   bilinear:                 (i + 1/2) n / m - 1/2, clamped below at 0: whole images coincide
///   bilinear, align_corners:  i (n - 1) / (m - 1): the centres of the corner pixels coincide
/// Not antialiased: shrinking skips pixels.
/// Throws Error for sizes below 1, and for align_corners with nearest.
/// Source: PyTorch's interpolate (same sampling positions).
Variable resize(const Variable& x, int64_t h, int64_t w, const ResizeOptions& options = {});

/// concat({resize(x, H, W), skip}, 3), nearest: the step of a U-Net decoder, written in one pass.
///   x [N, h, w, C], skip [N, H, W, S] -> y [N, H, W, C + S]; skip absent -> y [N, 2 h, 2 w, C]
/// Throws Error where the batches or types differ.
/// Source: Ronneberger et al. 2015, "U-Net". Differs: nearest upsampling, not a transposed
/// convolution (as in segmentation_models.pytorch).
Variable upsample_concat(const Variable& x, const Variable& skip = {});

}  // namespace decant
