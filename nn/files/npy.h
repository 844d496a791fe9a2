#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"

namespace decant::nn {

/// Reads the one array of a file that numpy.save wrote, versions 1 to 3, in C or Fortran order:
/// f8, f4, f2 (as float32), i8, i4, i2 and i1 (as int32), u4 (as int64), u2 (as int32), u1, b1.
/// Throws Error beginning with `what` where the header is not as numpy writes it, for big-endian
/// and for object arrays (which are pickles), and where the data does not fill the shape exactly.
/// Source: NEP 1 and numpy's lib/format.py.
Tensor parse_npy(std::span<const std::byte> bytes, std::string_view what);

/// The bytes that numpy.save writes, version 1, C order. Throws Error for bfloat16.
std::vector<std::byte> npy_bytes(const Tensor& tensor);

}  // namespace decant::nn
