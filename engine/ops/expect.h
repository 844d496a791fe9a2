#pragma once

#include "engine/autograd/op_info.h"
#include "engine/core/tensor.h"

// What many ops expect of their inputs, said in the same words.

namespace decant {

/// Throws Error naming `op` unless x has real values.
inline void expect_real(const OpInfo& op, const Tensor& x) {
  check(x.defined() && is_real(x.dtype()), op.name, ": expected float32 or float64 values, got ",
        x.defined() ? name_of(x.dtype()) : "none");
}

/// Throws Error naming `op` unless x is [N, H, W, C] of real values, with at least one pixel.
inline void expect_image(const OpInfo& op, const Tensor& x) {
  expect_real(op, x);
  check(x.shape().rank() == 4 && x.shape()[1] > 0 && x.shape()[2] > 0, op.name,
        ": expected [N, H, W, C] with pixels, got ", x.shape());
}

/// Throws Error naming `op` unless both have real values of one type.
inline void expect_same_type(const OpInfo& op, const Tensor& a, const Tensor& b) {
  expect_real(op, a);
  expect_real(op, b);
  check(a.dtype() == b.dtype(), op.name, ": expected values of one type, got ", a.dtype(), ' ',
        a.shape(), " and ", b.dtype(), ' ', b.shape());
}

}  // namespace decant
