#pragma once

#include "engine/check/gradient_check.h"
#include "engine/core/precision.h"

// The checks of a row on a device, in builds that have one.

namespace decant {

/// Whether the row's op takes inputs as bfloat16 there (OpInfo::stored).
bool can_be_stored(const OpRow& row);
/// Whether it rounds operands of products as precision() says (OpInfo::multiplied).
bool multiplies(const OpRow& row);

/// Value and gradients of float32 inputs against float64, and the same bits twice.
CheckResult check_cuda(const OpRow& row, Precision mode);
/// The same of the inputs that the op takes as bfloat16.
CheckResult check_cuda_bf16(const OpRow& row);

}  // namespace decant
