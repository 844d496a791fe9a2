#pragma once

#include "engine/check/gradient_check.h"

// The checks of a row on a device, in builds that have one.

namespace decant {

/// Which inputs of the row's op may be bfloat16 there (OpInfo::stored).
InputSet stored_inputs(const OpRow& row);

/// Value and gradients of float32 inputs against float64, and the same bits twice.
CheckResult check_cuda(const OpRow& row);
/// The same of the inputs that the op takes as bfloat16.
CheckResult check_cuda_bf16(const OpRow& row);

}  // namespace decant
