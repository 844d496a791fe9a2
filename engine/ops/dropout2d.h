#pragma once

#include "engine/autograd/variable.h"
#include "engine/core/rng.h"

namespace decant {

/// Sets whole channels of an image to zero with probability p and divides the others by 1 - p.
///   x [N, H, W, C] -> y as x
/// Which channels is a function of the key: channel c of image n is element n C + c of its stream.
/// Composed of dropout and mul. Identity for p = 0. Evaluation does not call it.
/// Throws Error unless 0 <= p < 1.
/// Source: Tompson et al. 2015, "Efficient object localization using convolutional networks".
Variable dropout2d(const Variable& x, double p, const RngKey& key);

}  // namespace decant
