#pragma once

#include "engine/core/tensor.h"

namespace decant::cuda {

/// y = op(a) op(b) + bias in the mode of decant::precision(); bias [N] or undefined.
void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
             const Tensor& bias, Tensor& y);
/// sums [C] = sum over rows of x [rows, C].
void sum_rows(const Tensor& x, Tensor& sums);

}  // namespace decant::cuda
