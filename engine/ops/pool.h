#pragma once

#include "engine/autograd/variable.h"

namespace decant {

struct PoolOptions {
  int64_t kernel = 2;   ///< window height and width, at most 46340
  int64_t stride = 0;   ///< 0: the same as kernel
  int64_t padding = 0;  ///< on all four sides, at most kernel / 2

  void visit(auto&& v) const {
    v("kernel", kernel);
    v("stride", stride);
    v("padding", padding);
  }
};

/// Maximum over square windows.
///   x [N, H, W, C] -> y [N, OH, OW, C], OH = floor((H + 2 padding - kernel) / stride) + 1
/// Padding is -infinity: it never wins. NaN is larger than any number. The gradient goes to the
/// first maximum of the window in row-major order. Throws Error where no window fits or padding
/// exceeds half the kernel.
Variable max_pool2d(const Variable& x, const PoolOptions& options);

/// Mean over square windows; shapes and errors as max_pool2d.
/// Padding is 0 and counts: the divisor is kernel^2 at the borders too (PyTorch's default,
/// count_include_pad = True).
Variable avg_pool2d(const Variable& x, const PoolOptions& options);

/// Mean over h x w windows that cover the image.
///   x [N, H, W, C] -> y [N, h, w, C]; window i spans rows floor(i H / h) to ceil((i + 1) H / h) -
///   1
/// Windows overlap where h does not divide H.
/// Source: PyTorch's adaptive_avg_pool2d.
Variable adaptive_avg_pool2d(const Variable& x, int64_t h, int64_t w);

}  // namespace decant
