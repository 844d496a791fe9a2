#pragma once

#include <cstdint>

#include "engine/cpu/kernels.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {

/// Pixels times a matrix that is packed once:
///   y [pixels, columns] = act(x [pixels, depth] b + bias + residual)
/// On the calling thread.
class PackedProduct {
 public:
  /// b [depth, columns] as it lies, or its transpose [columns, depth]: the filters of a 1x1
  /// convolution, for its input gradient and for its forward pass. bias [columns] or null.
  struct Matrix {
    const float* values;
    bool transposed;
    int64_t depth, columns;
    const float* bias = nullptr;
  };
  explicit PackedProduct(const Matrix& b);

  void run(int64_t pixels, const float* x, PointwiseKind activation, const float* residual,
           float* y) const;

 private:
  int64_t depth_, columns_;
  Panels panels_;
  Scratch packed_;
  Scratch bias_;
};

}  // namespace decant::cpu
