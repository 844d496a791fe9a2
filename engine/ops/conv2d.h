#pragma once

#include <cstdint>
#include <vector>

#include "engine/autograd/variable.h"

namespace decant {

/// Rows and columns of zeros around an image; one number stands for all four sides.
struct Padding {
  int top = 0, bottom = 0, left = 0, right = 0;

  Padding() = default;
  explicit(false) Padding(int all) : top(all), bottom(all), left(all), right(all) {}
  Padding(int t, int b, int l, int r) : top(t), bottom(b), left(l), right(r) {}

  bool operator==(const Padding&) const = default;
};

struct Conv2dOptions {
  int stride = 1;
  Padding padding = 0;
  int dilation = 1;
  int groups = 1;

  void visit(auto&& v) const {
    v("stride", stride);
    v("padding", std::vector<int64_t>{padding.top, padding.bottom, padding.left, padding.right});
    v("dilation", dilation);
    v("groups", groups);
  }
};

/// Two-dimensional convolution (cross-correlation: the kernel is not flipped).
///   x [N, H, W, Cin], w [Cout, kH, kW, Cin/groups], b [Cout] or absent -> y [N, Ho, Wo, Cout]
///   y[n, i, j, o] = b[o] + sum over r, s, c of
///       x[n, i stride + r dilation - top, j stride + s dilation - left, c] w[o, r, s, c]
/// where c runs over the channels of o's group; x is zero outside of the image.
///   Ho = (H + top + bottom - dilation (kH - 1) - 1) / stride + 1, rounded down; Wo likewise.
/// groups == Cin == Cout is a depthwise convolution.
/// On cuda x may be bf16 beside float32 w and b: y is then, and w where tensor cores multiply it.
/// Throws Error if shapes or options do not agree, or Ho or Wo would not be positive.
/// Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic". Weights lie as
/// [Cout, kH, kW, Cin/groups] where PyTorch has [Cout, Cin/groups, kH, kW].
Variable conv2d(const Variable& x, const Variable& w, const Variable& b = {},
                const Conv2dOptions& options = {});

/// Shape of y = conv2d(x, w). Throws Error as conv2d does.
Shape conv2d_shape(const Shape& x, const Shape& w, const Conv2dOptions& options);

}  // namespace decant
