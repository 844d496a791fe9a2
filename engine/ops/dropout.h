#pragma once

#include <cstdint>
#include <string_view>

#include "engine/autograd/variable.h"
#include "engine/core/rng.h"

namespace decant {

/// What dropout drops or keeps as one: every element for itself, a channel of one sample (PyTorch's
/// Dropout2d), or a whole sample (stochastic depth, EfficientNet's drop_connect).
enum class DropoutOf : uint8_t { elements, channels, samples };

constexpr std::string_view name_of(DropoutOf of) {
  if (of == DropoutOf::elements) return "elements";
  return of == DropoutOf::channels ? "channels" : "samples";
}

/// Sets elements, channels or samples to zero with probability p and divides the others by 1 - p,
/// so that the mean stays.
///   x [..], of channels and samples [N, .., C] -> y of x's shape
/// Which ones is a function of the key and their position: the backward pass draws them again
/// instead of keeping them. Identity for p = 0. Evaluation does not call it.
/// On cuda `stream`, [1] int64 there, may hold Rng(key).stream(): a recorded step, whose key stays
/// as it was, reads from it what step it is. Without, dropout cannot be recorded.
/// Throws Error unless 0 <= p < 1, and where channels or samples are asked of fewer than two axes.
/// Source: Srivastava et al. 2014, "Dropout"; of channels Tompson et al. 2015, "Efficient object
/// localization using convolutional networks"; of samples Huang et al. 2016, "Deep networks with
/// stochastic depth". Differs: scaled while training ("inverted").
Variable dropout(const Variable& x, double p, const RngKey& key, DropoutOf of = DropoutOf::elements,
                 const Tensor& stream = {});

}  // namespace decant
