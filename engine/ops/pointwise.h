#pragma once

#include "engine/autograd/variable.h"
#include "engine/ops/pointwise_ops.h"

namespace decant {

// Declares Variable relu(const Variable& x) and so on; x [..] -> y [..] of the same shape.
#define DECANT_DECLARE(function, Op) Variable function(const Variable& x);
DECANT_POINTWISE_OPS(DECANT_DECLARE)
#undef DECANT_DECLARE

/// y = x where x > 0, slope * x elsewhere.
/// Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".
Variable leaky_relu(const Variable& x, double slope);

}  // namespace decant
