#pragma once

#include "engine/autograd/variable.h"

namespace decant {

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;

  void visit(auto&& v) const {
    v("transpose_a", transpose_a);
    v("transpose_b", transpose_b);
  }
};

/// Product of two matrices, or of each pair of two batches of them.
///   a [M, K] ([K, M] with transpose_a), b [K, N] ([N, K] with transpose_b) -> y [M, N]
///   a [B, M, K], b [B, K, N] -> y [B, M, N], transposed as above
///   y = op(a) op(b)
/// Throws Error unless both are matrices, or batches of as many, of one real type, on cuda perhaps
/// bf16, whose inner sizes agree.
Variable matmul(const Variable& a, const Variable& b, const MatmulOptions& options = {});

/// A fully connected layer.
///   x [.., in], w [out, in], b [out] or absent -> y [.., out]
///   y = x w^T + b
/// On cuda x may be bf16 beside float32 w and b: y is then, and w where it is multiplied.
/// Throws Error if the sizes do not agree.
Variable linear(const Variable& x, const Variable& w, const Variable& b = {});

}  // namespace decant
