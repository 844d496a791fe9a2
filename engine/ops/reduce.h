#pragma once

#include <vector>

#include "engine/autograd/variable.h"

namespace decant {

/// Reductions over `axes` (counted from the end where negative; none means all).
///   x [..] -> y: x's shape without the reduced axes, or with 1 in their place if `keep_axes`;
///   everything reduced and not kept gives a scalar of shape []
/// float32 is added up in float64 and rounded once, in an order that depends on the shape alone (on
/// cuda in pairs of float32, and rounded after each group of neighbouring axes). The sum of nothing
/// is 0; mean and max have no value there. `max` sends its gradient to the first maximum in
/// row-major order; NaN counts as larger than any number. Throws Error for an axis that x has not,
/// one that is named twice, and for max and mean over no elements (an axis of extent 0 that is not
/// reduced is fine, and gives a result without elements).
Variable sum(const Variable& x, const std::vector<int>& axes = {}, bool keep_axes = false);
Variable mean(const Variable& x, const std::vector<int>& axes = {}, bool keep_axes = false);
Variable max(const Variable& x, const std::vector<int>& axes = {}, bool keep_axes = false);

}  // namespace decant
