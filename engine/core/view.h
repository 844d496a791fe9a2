#pragma once

#include "engine/core/tensor.h"

namespace decant {

/// What image kernels read and write: [N, H, W, C] whose pixels lie `pixel_stride` elements apart.
/// pixel_stride == C is a whole tensor; pixel_stride > C is a slice of a tensor with more channels,
/// by which an op can write its result into a part of a concatenation.
template <class T>
struct View {
  T* data;
  int64_t n, h, w, c;
  int64_t pixel_stride;

  T* pixel(int64_t in, int64_t ih, int64_t iw) const {
    return data + ((in * h + ih) * w + iw) * pixel_stride;
  }
  int64_t pixels() const { return n * h * w; }

  /// Channels [first, first + count).
  View channels(int64_t first, int64_t count) const {
    return {data + first, n, h, w, count, pixel_stride};
  }
};

/// Throws Error naming `op` unless the tensor is [N, H, W, C].
template <class T>
View<const T> view_of(const Tensor& t, const char* op) {
  check(t.shape().rank() == 4, op, ": expected [N, H, W, C], got ", t.shape());
  const Shape& s = t.shape();
  return {t.data<T>(), s[0], s[1], s[2], s[3], s[3]};
}
template <class T>
View<T> mutable_view_of(Tensor& t, const char* op) {
  check(t.shape().rank() == 4, op, ": expected [N, H, W, C], got ", t.shape());
  const Shape& s = t.shape();
  return {t.mutable_data<T>(), s[0], s[1], s[2], s[3], s[3]};
}

}  // namespace decant
