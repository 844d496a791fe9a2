#pragma once

#include <cstdint>
#include <memory>

#include "engine/cpu/conv.h"
#include "engine/cpu/kernels.h"

namespace decant::cpu {

/// A convolution whose filters are laid out once as the kernels read them, for calls without
/// number:
///   y = act(x * w + bias + residual)
class PreparedConv {
 public:
  virtual ~PreparedConv() = default;

  /// Of n images, however many it was prepared for. residual: as y, or null; it may be y itself.
  virtual void run(int64_t n, const float* x, const float* residual, float* y) const = 0;
};

/// What a convolution multiplies by and adds, and what follows. The memory is read while the
/// convolution is prepared, and no longer.
struct ConvFilters {
  const float* w;
  const float* bias;  // or null
  PointwiseKind activation = PointwiseKind::none;
};

/// The forward pass of conv.h. The algorithm is the cheapest for batches of s.n images.
std::unique_ptr<PreparedConv> prepare_conv2d(const ConvShape& s, const ConvFilters& filters);

/// The pass of conv2d_input_gradient, with the images of dy for x: a transposed convolution.
std::unique_ptr<PreparedConv> prepare_conv_transpose2d(const ConvShape& s,
                                                       const ConvFilters& filters);

/// A depthwise convolution s and a 1x1 convolution of its results to c_out channels, a block of
/// lines at a time: what lies between the two never leaves the cache. The residual is added to the
/// second's sums.
std::unique_ptr<PreparedConv> prepare_separable(const ConvShape& s, const ConvFilters& depthwise,
                                                int64_t c_out, const ConvFilters& pointwise);

}  // namespace decant::cpu
