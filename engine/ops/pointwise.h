#pragma once

#include "engine/autograd/variable.h"
#include "engine/ops/pointwise_ops.h"

namespace decant {

// Declares Variable relu(const Variable& x) and so on; x [..] -> y [..] of the same shape.
#define DECANT_DECLARE(function, Op) Variable function(const Variable& x);
DECANT_POINTWISE_OPS(DECANT_DECLARE)
#undef DECANT_DECLARE

}  // namespace decant
