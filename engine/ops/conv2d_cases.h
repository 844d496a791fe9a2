#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/cpu/conv.h"

namespace decant::cuda {

using cpu::ConvShape;

inline bool is_aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// The cases that conv2d.cu tells apart, each on device memory; contracts as in conv2d_passes.h.
// bias may be null.

/// One thread per result, any shape: what the others are held against.
namespace simple {
void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y);
void input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                    float* dx);
void weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);
}  // namespace simple

/// Implicit matrix products in the mode of precision(), of any shape that `takes`.
namespace gemm {
inline constexpr int64_t kMaxStride = 4;
bool takes(const ConvShape& s);
void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y);
void input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                    float* dx);
void weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);
}  // namespace gemm

/// groups == c_in == c_out, in float32 whatever the mode: bound by memory. For filters and channels
/// that `takes`, tensors aligned to 16 bytes.
namespace depthwise {
bool takes(const ConvShape& s, const float* x, const float* y);
void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y);
void input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                    float* dx);
void weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);
}  // namespace depthwise

}  // namespace decant::cuda
