#pragma once

#include "engine/core/tensor.h"
#include "engine/cpu/conv.h"

namespace decant {

using cpu::ConvShape;

// The three passes that conv2d and conv_transpose2d are made of, on tensors of one real type. On
// the CPU float32 runs the SIMD kernels, float64 the reference.

namespace cpu {

void conv2d_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    Tensor& y);
void conv2d_input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w,
                           const Tensor& bias, Tensor& dx);
void conv2d_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw);
/// Those of the two that are defined; of the operands, what they need. What x and dy promise is
/// made piece by piece where one pass over them gives both.
void conv2d_gradients(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& w,
                      Tensor& dx, Tensor& dw);
/// db [C] = sum over pixels of dy [N, H, W, C].
void conv2d_bias_gradient(const Tensor& dy, Tensor& db);

}  // namespace cpu

namespace cuda {

/// In the mode of decant::precision(). Images may be bf16, all of a call; w, bias, dw and db are
/// float32.
void conv2d_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    Tensor& y);
void conv2d_input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w,
                           const Tensor& bias, Tensor& dx);
void conv2d_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw);
void conv2d_bias_gradient(const Tensor& dy, Tensor& db);
inline void conv2d_gradients(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& w,
                             Tensor& dx, Tensor& dw) {
  if (dx.defined()) cuda::conv2d_input_gradient(s, dy, w, {}, dx);
  if (dw.defined()) cuda::conv2d_weight_gradient(s, x, dy, dw);
}

}  // namespace cuda

/// Throws Error naming `op` unless the types are one real type, or x is bf16 on cuda and the others
/// float32, and b, where defined, is [channels].
void check_conv_operands(const char* op, const Tensor& x, const Tensor& w, const Tensor& b,
                         int64_t channels);

}  // namespace decant
