#pragma once

#include "engine/core/tensor.h"

namespace decant::cuda {

/// y = a where x > 0, slope * a elsewhere: forward with a = x, backward with a = dy.
void leaky_select(const Tensor& x, const Tensor& a, double slope, Tensor& y);

}  // namespace decant::cuda
