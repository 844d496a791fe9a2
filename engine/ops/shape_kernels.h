#pragma once

#include <vector>

#include "engine/core/tensor.h"

namespace decant::cuda {

/// Copies rows of `width` elements between two places with different distances of rows: what
/// concat, slice and their gradients amount to.
void copy_rows(const Tensor& from, int64_t from_offset, int64_t from_stride, Tensor& to,
               int64_t to_offset, int64_t to_stride, int64_t rows, int64_t width);

/// Copies a box of `extents` elements between two tensors of the same rank: its corner lies at
/// offset `from_corner` in one and `to_corner` in the other.
void copy_box(const Tensor& from, int64_t from_corner, const std::vector<int64_t>& from_strides,
              Tensor& to, int64_t to_corner, const std::vector<int64_t>& to_strides,
              const Shape& extents);

}  // namespace decant::cuda
