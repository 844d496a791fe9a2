#pragma once

#include <cuda_runtime.h>

#include "engine/core/host_device.h"
#include "engine/core/shape.h"

namespace decant::cuda {

/// The sizes of an image [N, H, W, C] whose channels are taken kWidth at a time.
struct ImageSize {
  int64_t n, h, w, c;  // c: groups of kWidth channels

  static ImageSize of(const Shape& s, int width) { return {s[0], s[1], s[2], s[3] / width}; }
  HOST_DEVICE int64_t count() const { return n * h * w * c; }
};

struct ImagePlace {
  int64_t n, h, w, c;

  /// Of the i-th group, in the order of memory.
  __device__ ImagePlace(const ImageSize& size, int64_t i) {
    c = i % size.c;
    i /= size.c;
    w = i % size.w;
    i /= size.w;
    h = i % size.h;
    n = i / size.h;
  }
};

}  // namespace decant::cuda
