#pragma once

#include "engine/autograd/variable.h"

namespace decant {

/// The values rounded to another type: float32, float64 or bfloat16. The gradient is dy rounded to
/// x's type. Where that is x's type already, nothing is copied.
Variable cast(const Variable& x, DType dtype);

}  // namespace decant
