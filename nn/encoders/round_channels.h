#pragma once

#include <algorithm>
#include <cstdint>

namespace decant::nn {

/// The multiple of 8 nearest to x, not more than a tenth below it, at least 8: how MobileNets and
/// EfficientNets are scaled.
inline int64_t round_channels(double x) {
  const int64_t nearest = static_cast<int64_t>(x + 4) / 8 * 8;
  const int64_t rounded = std::max<int64_t>(8, nearest);
  return static_cast<double>(rounded) < 0.9 * x ? rounded + 8 : rounded;
}

}  // namespace decant::nn
