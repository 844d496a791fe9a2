#pragma once

#include "engine/core/host_device.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/pointwise_ops.h"

namespace decant {

template <class T>
HOST_DEVICE T activate(Activation activation, T z) {
  switch (activation) {
    case Activation::none:
      return z;
    case Activation::relu:
      return pointwise::Relu::f(z);
    case Activation::relu6:
      return pointwise::Relu6::f(z);
    case Activation::hard_swish:
      return pointwise::HardSwish::f(z);
    case Activation::silu:
      return pointwise::Silu::f(z);
  }
  return z;
}

/// d activate / dz, zero at the kinks of relu and relu6.
template <class T>
HOST_DEVICE T activation_slope(Activation activation, T z) {
  switch (activation) {
    case Activation::none:
      return T(1);
    case Activation::relu:
      return pointwise::slope_at<pointwise::Relu>(z);
    case Activation::relu6:
      return pointwise::slope_at<pointwise::Relu6>(z);
    case Activation::hard_swish:
      return pointwise::slope_at<pointwise::HardSwish>(z);
    case Activation::silu:
      return pointwise::slope_at<pointwise::Silu>(z);
  }
  return T(1);
}

}  // namespace decant
