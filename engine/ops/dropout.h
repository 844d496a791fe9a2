#pragma once

#include "engine/autograd/variable.h"
#include "engine/core/rng.h"

namespace decant {

/// Sets elements to zero with probability p and divides the others by 1 - p, so that the mean
/// stays.
///   x [..] -> y [..]
/// Which elements is a function of the key and their position: the backward pass draws them again
/// instead of keeping them. Identity for p = 0. Evaluation does not call it.
/// Throws Error unless 0 <= p < 1.
/// Source: Srivastava et al. 2014, "Dropout". Differs: scaled while training ("inverted").
Variable dropout(const Variable& x, double p, const RngKey& key);

}  // namespace decant
