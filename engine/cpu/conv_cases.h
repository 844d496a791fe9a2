#pragma once

#include "engine/cpu/conv.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/prepared_conv.h"

namespace decant::cpu {

// What conv.cpp chooses from, with winograd.h; same contracts as in conv.h.

// y = act(y + residual) for pixels that a kernel has just written; nothing where neither is asked
// for.
inline void finish(PointwiseKind activation, const float* residual, int64_t pixels,
                   int64_t channels, float* y, int64_t stride) {
  if (residual == nullptr && activation == PointwiseKind::none) return;
  kernels().finish({.pixels = pixels,
                    .channels = channels,
                    .activation = activation,
                    .residual = residual,
                    .y = y,
                    .stride = stride});
}

// `p + offset`, or null.
inline const float* at(const float* p, int64_t offset) {
  return p == nullptr ? nullptr : p + offset;
}

// Slots: sets of accumulators that a weight gradient is summed up in, a part of the pixels each,
// and merged in order.
constexpr int64_t kMaxSlots = 16;
// So many for pixels that are cut at `units` places, of `accumulators` floats each: few enough for
// memory, enough for many threads, each with enough pixels to outweigh the merging.
int64_t slots_for(int64_t units, int64_t pixels, int64_t accumulators);
// Adds `count` floats of all further slots, which lie `size` floats apart, to those of the first.
void add_slots(int64_t slots, int64_t size, int64_t count, float* total);

// groups == c_in == c_out: one filter per channel.
void depthwise_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                       float* y);
std::unique_ptr<PreparedConv> prepare_depthwise(const ConvShape& s, const ConvFilters& filters);
void depthwise_input_gradient(const ConvShape& s, const float* dy, const float* w,
                              const float* bias, float* dx);
// Of the two, dx may be null.
void depthwise_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                         float* dx, float* dw);
// Whether the forward pass makes each row of a made x 3/2 times at most, the gradients those of dy
// and each of x once.
bool depthwise_reads_lines(const ConvShape& s);
bool depthwise_gradients_read_once(const ConvShape& s);

// groups == 1, a few output channels and whole vectors of input channels.
void few_outputs_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                         float* y);
std::unique_ptr<PreparedConv> prepare_few_outputs(const ConvShape& s, const ConvFilters& filters);
bool few_outputs_reads_lines(const ConvShape& s);
void few_outputs_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

// is_pointwise, with filters so few that they stay in the cache.
bool has_pointwise_gradients(const ConvShape& s);
void pointwise_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                         float* dx, float* dw);

// Any other, each sum term by term.
void direct_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                    float* y);
std::unique_ptr<PreparedConv> prepare_direct(const ConvShape& s, const ConvFilters& filters);
void direct_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                           float* dx);
void direct_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

}  // namespace decant::cpu
