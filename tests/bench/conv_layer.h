#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/cpu/conv.h"

namespace decant::bench {

/// A convolution as it stands in a network: `size` x `size` pixels in, padded by half the kernel.
struct ConvLayer {
  const char* name;
  int64_t batch, size, c_in, c_out, kernel, stride, groups;
};

inline cpu::ConvShape shape_of(const ConvLayer& l) {
  const int64_t pad = l.kernel / 2;
  const int64_t out = (l.size + 2 * pad - l.kernel) / l.stride + 1;
  return {.n = l.batch,
          .h = l.size,
          .w = l.size,
          .c_in = l.c_in,
          .ho = out,
          .wo = out,
          .c_out = l.c_out,
          .kh = l.kernel,
          .kw = l.kernel,
          .stride = l.stride,
          .dilation = 1,
          .groups = l.groups,
          .top = pad,
          .left = pad};
}

/// Additions and multiplications of each of the three passes.
inline double flops_of(const ConvLayer& l) {
  const cpu::ConvShape s = shape_of(l);
  return 2.0 * static_cast<double>(s.n * s.ho * s.wo * s.c_out) *
         static_cast<double>(s.kh * s.kw * s.c_in / s.groups);
}

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace decant::bench
