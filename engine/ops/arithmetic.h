#pragma once

#include "engine/autograd/variable.h"

namespace decant {

/// Element-wise a + b, a - b, a * b, a / b.
///   a, b of any shapes that broadcast -> y of the common shape
/// Broadcasting is NumPy's: shapes are aligned at their last axis, and an extent of 1 (or a missing
/// axis) is repeated to match the other. The gradient of a repeated operand is summed over what it
/// was repeated along.
/// Throws Error where the shapes do not broadcast or the types differ.
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);

/// y = factor * x
Variable scale(const Variable& x, double factor);
/// y = x + c
Variable add_scalar(const Variable& x, double c);

}  // namespace decant
