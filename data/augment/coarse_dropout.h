#pragma once

#include <optional>
#include <span>
#include <vector>

#include "data/augment/transform.h"

namespace decant::data {

/// The pixels of columns x1 .. x2 - 1 and rows y1 .. y2 - 1.
struct Hole {
  int x1, y1, x2, y2;
};

/// Sets the pixels of all holes to `fill` (per channel, or one for all), and those of the mask to
/// `fill_mask` where that is given.
void fill_holes(Frame& frame, std::span<const Hole> holes, const std::vector<double>& fill,
                std::optional<bool> fill_mask);

}  // namespace decant::data
