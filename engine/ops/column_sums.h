#pragma once

#include "engine/core/tensor.h"

namespace decant::cuda {

/// sums [columns] = sum over rows of x, whatever its shape, as [rows, columns]; zeros where there
/// are no rows. x is float32 or bf16, sums float32. Errors name `op`.
void column_sums(const char* op, const Tensor& x, int64_t rows, int64_t columns, Tensor& sums);

}  // namespace decant::cuda
