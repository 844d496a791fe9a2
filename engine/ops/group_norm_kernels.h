#pragma once

#include "engine/core/tensor.h"

namespace decant {

/// y = (x - mean) inverse scale + shift, on x [N, H, W, C]; mean and inverse = 1 / sqrt(var + eps)
/// are [N, groups].
struct GroupNormOperands {
  Tensor x, scale, shift, mean, inverse;

  int64_t images() const { return x.shape()[0]; }
  int64_t pixels() const { return x.shape()[1] * x.shape()[2]; }
  int64_t channels() const { return x.shape()[3]; }
  int64_t groups() const { return mean.shape()[1]; }
  int64_t width() const { return channels() / groups(); }  ///< channels of a group
};

/// Those that are defined are written.
struct GroupNormGradients {
  Tensor x, scale, shift;
};

namespace cpu {

/// Writes n.mean and n.inverse.
void group_norm_moments(GroupNormOperands& n, double eps);
void group_norm_forward(const GroupNormOperands& n, Tensor& y);
void group_norm_backward(const GroupNormOperands& n, const Tensor& dy, GroupNormGradients& d);

}  // namespace cpu

/// The same in float; x, y and their gradients of float or bf16.
namespace cuda {

void group_norm_moments(GroupNormOperands& n, double eps);
void group_norm_forward(const GroupNormOperands& n, Tensor& y);
void group_norm_backward(const GroupNormOperands& n, const Tensor& dy, GroupNormGradients& d);

}  // namespace cuda
}  // namespace decant
