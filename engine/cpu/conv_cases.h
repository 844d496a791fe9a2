#pragma once

#include "engine/cpu/conv.h"

namespace decant::cpu {

// The cases that conv.cpp tells apart; same contracts as in conv.h.

// groups == c_in == c_out: one filter per channel.
void depthwise_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                       float* y);
void depthwise_input_gradient(const ConvShape& s, const float* dy, const float* w,
                              const float* bias, float* dx);
void depthwise_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

// All others.
void dense_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

}  // namespace decant::cpu
