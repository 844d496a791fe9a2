#pragma once

#include <cstdint>

namespace decant::cpu {

/// A convolution of x [n, h, w, c_in] to y [n, ho, wo, c_out] by w [c_out, kh, kw, c_in/groups].
/// Rows and columns of zeros above and left of x are `top` and `left`; those on the other sides
/// follow from ho and wo.
struct ConvShape {
  int64_t n, h, w, c_in;
  int64_t ho, wo, c_out;
  int64_t kh, kw;
  int64_t stride, dilation, groups;
  int64_t top, left;
};

/// y = x * w + bias; bias [c_out] or null.
void conv2d_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                    float* y);

/// dx from dy. With a bias [c_in] this is the forward pass of a transposed convolution.
void conv2d_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                           float* dx);

/// dw from x and dy.
void conv2d_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

}  // namespace decant::cpu
