#pragma once

#include "engine/ops/conv2d.h"

namespace decant {

struct ConvTranspose2dOptions {
  int stride = 1;
  Padding padding = 0;     ///< taken off the result, as conv2d adds it to its input
  int output_padding = 0;  ///< rows and columns added below and to the right; less than stride
  int dilation = 1;
  int groups = 1;

  void visit(auto&& v) const {
    v("stride", stride);
    v("padding", std::vector<int64_t>{padding.top, padding.bottom, padding.left, padding.right});
    v("output_padding", output_padding);
    v("dilation", dilation);
    v("groups", groups);
  }
};

/// Transposed convolution: the gradient of conv2d with respect to its input, as a forward pass.
///   x [N, H, W, Cin], w [Cin, kH, kW, Cout/groups], b [Cout] or absent -> y [N, Ho, Wo, Cout]
///   y[n, i stride + r dilation - top, j stride + s dilation - left, o] += x[n, i, j, c] w[c, r, s,
///   o] Ho = (H - 1) stride - top - bottom + dilation (kH - 1) + output_padding + 1; Wo likewise.
/// Types as conv2d.
/// Throws Error if shapes or options do not agree, or Ho or Wo would not be positive.
/// Source: Dumoulin & Visin 2016, section 4. Weights lie as [Cin, kH, kW, Cout/groups] where
/// PyTorch has [Cin, Cout/groups, kH, kW].
Variable conv_transpose2d(const Variable& x, const Variable& w, const Variable& b = {},
                          const ConvTranspose2dOptions& options = {});

}  // namespace decant
