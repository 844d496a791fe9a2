#pragma once

#include <cstdint>

#include "engine/cpu/source.h"

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

/// Of one pass, summed directly.
constexpr int64_t multiply_adds(const ConvShape& s) {
  return s.n * s.ho * s.wo * s.c_out * s.kh * s.kw * (s.c_in / s.groups);
}

/// Of one group and one pixel: 1x1, stride 1, no padding.
bool is_pointwise(const ConvShape& s);

/// y = x * w + bias; bias [c_out] or null. x is in memory unless reads_lines(s).
void conv2d_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                    float* y);
/// Whether the forward pass makes an x that is not in memory as it goes, no line of it more than
/// one and a half times on the average. Where it would be more, x is made whole beforehand.
bool reads_lines(const ConvShape& s);

/// dx from dy. With a bias [c_in] this is the forward pass of a transposed convolution.
void conv2d_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                           float* dx);

/// dw from x and dy.
void conv2d_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

/// Both, or the one that is not null: where dw is wanted and gradients_in_one_pass(s), from one
/// visit to x and dy. These are in memory unless gradients_read_once(s) and dw is wanted.
void conv2d_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                      float* dx, float* dw);
bool gradients_in_one_pass(const ConvShape& s);
/// Whether that pass makes each line of an x that is not in memory once, and those of dy one and a
/// half times at most, on the average. Strided depthwise convolutions, and those of small maps,
/// would make them several times.
bool gradients_read_once(const ConvShape& s);

}  // namespace decant::cpu
