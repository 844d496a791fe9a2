#pragma once

#include "engine/core/tensor.h"
#include "engine/ops/pool.h"

namespace decant::cuda {

/// y = the maximum of each window, winner = where in the window it lies, row by row (int32).
void max_pool_forward(const Tensor& x, const PoolOptions& pool, Tensor& y, Tensor& winner);
/// Gathers: each pixel asks the windows that it lies in whether it won.
void max_pool_backward(const Tensor& dy, const Tensor& winner, const PoolOptions& pool, Tensor& dx);

}  // namespace decant::cuda
