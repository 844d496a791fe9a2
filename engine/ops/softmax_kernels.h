#pragma once

#include "engine/core/tensor.h"

namespace decant {

/// What an axis of a tensor is to a kernel: x [outer, length, inner].
struct SoftmaxRows {
  int64_t outer, length, inner;
};

namespace cuda {

void softmax_forward(const Tensor& x, SoftmaxRows rows, bool logarithm, Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, SoftmaxRows rows, bool logarithm,
                      Tensor& dx);

}  // namespace cuda
}  // namespace decant
