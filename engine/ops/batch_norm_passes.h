#pragma once

#include <vector>

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

/// Those of scale, shift and residual that are defined are written. Without an activation the
/// residual's gradient is dy, and is not asked for. That of x comes into being where it is wanted:
/// of float32 on the CPU as a promise.
struct BatchNormGradients {
  Tensor scale, shift, residual;
  bool wants_x = false;
  Tensor x = {};
};

namespace cpu {

PointwiseKind kind_of(Activation activation);

/// Mean and 1 / sqrt(var + eps) of each channel; updates the running moments.
void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var);
/// inverse = 1 / sqrt(var + eps)
void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse);
void batch_norm_forward(const BatchNormOperands& n, Tensor& y);
/// What that writes: of float32 a promise, which readers normalise as they go, else in memory.
Tensor batch_norm_value(const BatchNormOperands& n);
void batch_norm_backward(const BatchNormOperands& n, const Tensor& dy, BatchNormGradients& d);

/// The two passes of which backward consists, for whose moments belong to other sets of values.
/// Adds to each channel's sums those of dz = dy act'(z) and of dz (x - mean).
void batch_norm_sums(const BatchNormOperands& n, const Tensor& dy, std::vector<double>& sum_dz,
                     std::vector<double>& sum_dz_x);
/// dx = dz gain + (x - mean) slope + offset, slope and offset [C]
void batch_norm_input_gradient(const BatchNormOperands& n, const Tensor& dy, const Tensor& slope,
                               const Tensor& offset, Tensor& dx);

}  // namespace cpu

/// The same in float; activations and their gradients of float or bf16.
namespace cuda {

void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var);
void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse);
void batch_norm_forward(const BatchNormOperands& n, Tensor& y);
inline Tensor batch_norm_value(const BatchNormOperands& n) {
  Tensor y(n.x.shape(), n.x.dtype(), n.x.device());
  cuda::batch_norm_forward(n, y);
  return y;
}
void batch_norm_backward(const BatchNormOperands& n, const Tensor& dy, BatchNormGradients& d);

}  // namespace cuda
}  // namespace decant
