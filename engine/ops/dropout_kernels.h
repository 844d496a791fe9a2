#pragma once

#include "engine/core/host_device.h"
#include "engine/core/rng.h"
#include "engine/core/tensor.h"
#include "engine/ops/dropout.h"

namespace decant {

/// Which number of the key's stream decides about an element: its own, its sample's and channel's,
/// or its sample's.
struct DropoutDraws {
  int64_t sample = 1;    ///< elements of one sample; 1 where every element has a number of its own
  int64_t channels = 1;  ///< numbers of one sample

  HOST_DEVICE uint64_t operator()(int64_t i) const {
    return static_cast<uint64_t>(i / sample * channels + i % channels);
  }

  static DropoutDraws of(const Shape& x, DropoutOf of) {
    if (of == DropoutOf::elements || x.size() == 0) return {};
    return {.sample = x.size() / x[0], .channels = of == DropoutOf::channels ? x[-1] : 1};
  }
};

namespace cuda {

/// y = x / (1 - p) where the element's number in the key's stream keeps it, 0 elsewhere.
/// The stream is the key's, or where `stream` is defined, the one that is found there.
void dropout_kernel(const Tensor& x, double p, const RngKey& key, DropoutOf of,
                    const Tensor& stream, Tensor& y);

}  // namespace cuda
}  // namespace decant
