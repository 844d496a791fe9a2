#pragma once

#include <utility>
#include <vector>

#include "engine/autograd/variable.h"

namespace decant {

/// Joins tensors along one axis; all other extents must agree.
///   [.., L1, ..], [.., L2, ..] -> [.., L1 + L2, ..]
Variable concat(const std::vector<Variable>& xs, int axis);

/// Elements begin to end - 1 along one axis; negative positions count from the end.
///   [.., L, ..] -> [.., end - begin, ..]
/// Throws Error unless 0 <= begin < end <= L.
Variable slice(const Variable& x, int axis, int64_t begin, int64_t end);

/// Surrounds x with `value`: for each axis the number of elements {before, after}.
/// Throws Error for a negative number, or another count of pairs than x has axes.
Variable pad(const Variable& x, const std::vector<std::pair<int64_t, int64_t>>& amounts,
             double value = 0);
/// The same for the pixels of images [N, H, W, C].
Variable pad2d(const Variable& x, int64_t top, int64_t bottom, int64_t left, int64_t right,
               double value = 0);

/// The same numbers under another shape of the same size; shares memory.
Variable reshape(const Variable& x, const Shape& shape);

/// Axis i of the result is axis order[i] of x: permute(x, {0, 3, 1, 2}) takes [N, H, W, C] to
/// [N, C, H, W]. Copies. Throws Error unless `order` names every axis once.
Variable permute(const Variable& x, const std::vector<int>& order);

}  // namespace decant
