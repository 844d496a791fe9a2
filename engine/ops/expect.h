#pragma once

#include <cmath>

#include "engine/autograd/op_info.h"
#include "engine/core/on_device.h"

// What many ops expect of their inputs, said in the same words.

namespace decant {

/// Throws Error naming `op` unless x has real values.
inline void expect_real(const OpInfo& op, const Tensor& x) {
  check(x.defined() && is_real(x.dtype()), op.name, ": expected float32 or float64 values, got ",
        x.defined() ? name_of(x.dtype()) : "none");
}

/// Whether x has the type of an activation: float32, float64, on cuda also bf16.
inline bool is_stored(const Tensor& x) {
  return x.defined() &&
         (is_real(x.dtype()) || (x.dtype() == DType::bf16 && x.device() == Device::cuda));
}

/// Throws Error naming `op` unless x has the type of an activation.
inline void expect_stored(const OpInfo& op, const Tensor& x) {
  check(is_stored(x), op.name,
        ": expected float32 or float64 values, on cuda perhaps bfloat16, got ",
        x.defined() ? name_of(x.dtype()) : "none");
}

/// Throws Error naming `op` unless x is an activation [N, H, W, C] with at least one pixel.
inline void expect_image(const OpInfo& op, const Tensor& x) {
  expect_stored(op, x);
  check(x.shape().rank() == 4 && x.shape()[1] > 0 && x.shape()[2] > 0, op.name,
        ": expected [N, H, W, C] with pixels, got ", x.shape());
}

/// Throws Error naming `op` unless both are activations of one type.
inline void expect_same_type(const OpInfo& op, const Tensor& a, const Tensor& b) {
  expect_stored(op, a);
  expect_stored(op, b);
  check(a.dtype() == b.dtype(), op.name, ": expected values of one type, got ", a.dtype(), ' ',
        a.shape(), " and ", b.dtype(), ' ', b.shape());
}

/// Throws Error naming `op` unless eps can keep a divisor from 0.
inline void expect_eps(const OpInfo& op, double eps) {
  check(std::isfinite(eps) && eps > 0, op.name, ": expected a finite eps > 0, got ", eps);
}

/// Throws Error naming `op` unless all targets are probabilities; those that `counts` (one entry
/// per target; nullptr: all count) holds 0 for are not looked at.
inline void expect_probabilities(std::string_view op, const Tensor& targets,
                                 const uint8_t* counts = nullptr) {
  with_type(targets.dtype(), [&]<class T>() {
    const T* t = targets.data<T>();
    for (int64_t i = 0; i < targets.size(); ++i)
      if (counts == nullptr || counts[i] != 0)
        check(t[i] >= T(0) && t[i] <= T(1), op, ": expected targets in [0, 1], got ",
              static_cast<double>(t[i]));
  });
}

}  // namespace decant
