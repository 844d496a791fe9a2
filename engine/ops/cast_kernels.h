#pragma once

#include "engine/core/tensor.h"

namespace decant::cuda {

/// to = from, converted to its type
void convert(const Tensor& from, Tensor& to);

}  // namespace decant::cuda
