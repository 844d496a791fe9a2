#pragma once

#include "engine/core/tensor.h"
#include "engine/cpu/kernels.h"
#include "engine/ops/batch_norm.h"

namespace decant {

/// y = act((x - mean) inverse scale + shift + residual), on x [.., C].
struct BatchNormOperands {
  Tensor x, scale, shift, mean, inverse;
  Tensor residual;  // or undefined
  Activation activation;
  bool training;  // mean and inverse are functions of x
};

/// Those that are defined are written. Without an activation the residual's gradient is dy, and is
/// not asked for.
struct BatchNormGradients {
  Tensor x, scale, shift, residual;
};

namespace cpu {

PointwiseKind kind_of(Activation activation);

/// Mean and 1 / sqrt(var + eps) of each channel; updates the running moments.
void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var);
/// inverse = 1 / sqrt(var + eps)
void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse);
void batch_norm_forward(const BatchNormOperands& n, Tensor& y);
void batch_norm_backward(const BatchNormOperands& n, const Tensor& dy, BatchNormGradients& d);

}  // namespace cpu

/// The same in float; activations and their gradients of float or bf16.
namespace cuda {

void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var);
void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse);
void batch_norm_forward(const BatchNormOperands& n, Tensor& y);
void batch_norm_backward(const BatchNormOperands& n, const Tensor& dy, BatchNormGradients& d);

}  // namespace cuda
}  // namespace decant
