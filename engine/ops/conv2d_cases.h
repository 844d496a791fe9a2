#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cpu/conv.h"

namespace decant::cuda {

using cpu::ConvShape;

// The cases that conv2d.cu tells apart; contracts as in conv2d_passes.h. Images and their gradients
// are float32 or, all of a call, bf16; bias and dw are float32, bias may be undefined.

/// One thread per result, any shape: what the others are held against. w is float32.
namespace simple {
void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y);
void input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                    Tensor& dx);
void weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw);
}  // namespace simple

/// Implicit matrix products in the mode of precision(), of any shape that `takes`. w has the
/// images' type.
namespace gemm {
inline constexpr int64_t kMaxStride = 4;
bool takes(const ConvShape& s);
void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y);
void input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                    Tensor& dx);
void weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw);
}  // namespace gemm

/// groups == c_in == c_out, in float32 whatever the mode: bound by memory. For filters, channels
/// and images, x and y or dx and dy, that `takes`. w is float32.
namespace depthwise {
bool takes(const ConvShape& s, const Tensor& x, const Tensor& y);
void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y);
void input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                    Tensor& dx);
void weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw);
}  // namespace depthwise

inline bool is_aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

inline const float* data_or_null(const Tensor& t) {
  return t.defined() ? t.device_data<float>() : nullptr;
}

}  // namespace decant::cuda
