#pragma once

#include "engine/core/rng.h"
#include "engine/core/tensor.h"

namespace decant::cuda {

/// y = x / (1 - p) where element i of the key's stream is kept, 0 elsewhere.
void dropout_kernel(const Tensor& x, double p, const RngKey& key, Tensor& y);

}  // namespace decant::cuda
