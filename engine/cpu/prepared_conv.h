#pragma once

#include <cstdint>
#include <memory>

#include "engine/cpu/conv.h"
#include "engine/cpu/kernels.h"

namespace decant::cpu {

/// What a prepared convolution reads. residual: as the results, in other memory, or null.
struct ConvInputs {
  const float* x;
  const float* residual = nullptr;
  const float* skip = nullptr;  ///< of prepare_separable with an Upsampled input
};

/// A convolution whose filters are laid out once as the kernels read them, for calls without
/// number:
///   y = act(x * w + bias + residual)
class PreparedConv {
 public:
  virtual ~PreparedConv() = default;

  /// Of n images, however many it was prepared for.
  virtual void run(int64_t n, const ConvInputs& in, float* y) const = 0;
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

/// A map x [n, h, w, c] that is enlarged to the size of a map `skip`, nearest, and put before its
/// channels: upsample_concat's result, of which only the lines at work exist. c is 0 where there is
/// no such thing, and x is the input itself.
struct Upsampled {
  int64_t h = 0, w = 0, c = 0;
};

/// A depthwise convolution s and a 1x1 convolution of its results to c_out channels, a block of
/// lines at a time: what lies between the two never leaves the cache. The residual is added to the
/// second's sums.
std::unique_ptr<PreparedConv> prepare_separable(const ConvShape& s, const ConvFilters& depthwise,
                                                int64_t c_out, const ConvFilters& pointwise,
                                                const Upsampled& input = {});

/// Two 1x1 convolutions after each other, c_in to c_mid to c_out channels, a block of pixels at a
/// time. n counts pixels. The residual is added to the second's sums.
std::unique_ptr<PreparedConv> prepare_pointwise_pair(int64_t c_in, const ConvFilters& first,
                                                     int64_t c_mid, const ConvFilters& second,
                                                     int64_t c_out);

}  // namespace decant::cpu
