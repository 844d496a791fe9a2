#pragma once

#include <array>
#include <cstdint>

#include "engine/core/host_device.h"
#include "engine/core/shape.h"

namespace decant {

/// How two tensors are walked through together: the fewest axes that describe it, fastest first,
/// each with the distance of its neighbours in either tensor (0 where one is repeated). Kernels get
/// it by value.
struct PairWalk {
  struct Axis {
    int64_t extent, first, second;
  };
  struct Offsets {
    int64_t first, second;
  };
  std::array<Axis, Shape::kMaxRank> axes = {Axis{1, 0, 0}};
  int rank = 0;

  /// The next slower axis; it becomes one with the last where one distance serves both.
  void add(const Axis& axis) {
    if (axis.extent == 1) return;
    if (rank > 0) {
      Axis& last = axes[static_cast<size_t>(rank) - 1];
      if (axis.first == last.first * last.extent && axis.second == last.second * last.extent) {
        last.extent *= axis.extent;
        return;
      }
    }
    axes[static_cast<size_t>(rank++)] = axis;
  }

  const Axis& inner() const { return axes[0]; }

  /// Where position i of the walk lies in the two tensors.
  HOST_DEVICE Offsets at(int64_t i) const {
    Offsets offsets = {0, 0};
    for (size_t axis = 0; axis < Shape::kMaxRank; ++axis) {
      if (axis >= static_cast<size_t>(rank)) break;
      const int64_t rest = i / axes[axis].extent;
      const int64_t along = i - rest * axes[axis].extent;
      offsets.first += along * axes[axis].first;
      offsets.second += along * axes[axis].second;
      i = rest;
    }
    return offsets;
  }
};

}  // namespace decant
