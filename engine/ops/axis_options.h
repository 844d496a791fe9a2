#pragma once

#include <cstdint>

namespace decant {

/// What a trace tells of an op along one axis, counted from the front.
struct AxisOptions {
  int64_t axis;
  void visit(auto&& v) const { v("axis", axis); }
};

}  // namespace decant
