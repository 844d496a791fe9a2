#pragma once

#include "engine/core/tensor.h"

namespace decant::cuda {

/// y = op(a) op(b) + bias of matrices; bias [N] or undefined. Float32 operands are rounded as
/// decant::precision() says, b to bf16 where a is stored so. With bf16 operands y is float32 or
/// bf16; a bias asks for the latter and for an a that is not transposed.
void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
             const Tensor& bias, Tensor& y);
/// sums [C] = sum over rows of x [rows, C].
void sum_rows(const Tensor& x, Tensor& sums);

}  // namespace decant::cuda
