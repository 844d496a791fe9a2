#pragma once

#include "engine/check/row_run.h"
#include "engine/core/precision.h"

// What a row gives in the types that people compute in, against the same in float64.

namespace decant {

/// The inputs of a row that are given to a device, what the weighting of its output is exact in,
/// and the mode of its products.
struct Given {
  Device device = Device::cpu;
  Tensors inputs;
  DType weights = DType::f32;
  Precision mode = Precision::f32;
};

/// Value and gradients of what was `given` against float64, norm-wise; see tolerance.h.
CheckResult compare_with_reference(const OpRow& row, const Given& given, const Outcome& single);

CheckResult check_float32(const OpRow& row);

}  // namespace decant
