#pragma once

#include "engine/core/parallel.h"
#include "engine/cpu/conv.h"

namespace decant::reference {

// What the fast convolutions are judged by. The three passes are the same sum of products
//   y[n, i, j, o]  <->  x[n, i stride + r dilation - top, j stride + s dilation - left, c] w[o, r,
//   s, c]
// seen from y, from x and from w.

/// The kernel positions r for which output row i reads a row of x, or x's row is read by an output
/// row: h = i stride + r dilation - offset.
struct Axis {
  int64_t size, outputs, stride, dilation, offset;

  /// The row of x that output i reads through r, or -1.
  int64_t source(int64_t i, int64_t r) const {
    const int64_t h = i * stride + r * dilation - offset;
    return h >= 0 && h < size ? h : -1;
  }
  /// The output that reads row h through r, or -1.
  int64_t output(int64_t h, int64_t r) const {
    const int64_t from = h + offset - r * dilation;
    return from >= 0 && from % stride == 0 && from / stride < outputs ? from / stride : -1;
  }
};

inline Axis rows_of(const cpu::ConvShape& s) {
  return {
      .size = s.h, .outputs = s.ho, .stride = s.stride, .dilation = s.dilation, .offset = s.top};
}
inline Axis columns_of(const cpu::ConvShape& s) {
  return {
      .size = s.w, .outputs = s.wo, .stride = s.stride, .dilation = s.dilation, .offset = s.left};
}

template <class T>
void conv2d_forward(const cpu::ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  const Axis rows = rows_of(s);
  const Axis columns = columns_of(s);
  parallel_for(s.n * s.ho, [&](int64_t line) {
    const int64_t n = line / s.ho;
    for (int64_t j = 0; j < s.wo; ++j) {
      T* out = y + (line * s.wo + j) * s.c_out;
      for (int64_t o = 0; o < s.c_out; ++o) out[o] = bias == nullptr ? T(0) : bias[o];
      for (int64_t r = 0; r < s.kh; ++r) {
        const int64_t h = rows.source(line % s.ho, r);
        if (h < 0) continue;
        for (int64_t t = 0; t < s.kw; ++t) {
          const int64_t v = columns.source(j, t);
          if (v < 0) continue;
          const T* in = x + ((n * s.h + h) * s.w + v) * s.c_in;
          for (int64_t o = 0; o < s.c_out; ++o) {
            const T* weight = w + ((o * s.kh + r) * s.kw + t) * cg;
            T sum = 0;
            for (int64_t c = 0; c < cg; ++c) sum += in[o / og * cg + c] * weight[c];
            out[o] += sum;
          }
        }
      }
    }
  });
}

template <class T>
void conv2d_input_gradient(const cpu::ConvShape& s, const T* dy, const T* w, const T* bias, T* dx) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  const Axis rows = rows_of(s);
  const Axis columns = columns_of(s);
  parallel_for(s.n * s.h, [&](int64_t line) {
    const int64_t n = line / s.h;
    for (int64_t v = 0; v < s.w; ++v) {
      T* out = dx + (line * s.w + v) * s.c_in;
      for (int64_t c = 0; c < s.c_in; ++c) out[c] = bias == nullptr ? T(0) : bias[c];
      for (int64_t r = 0; r < s.kh; ++r) {
        const int64_t i = rows.output(line % s.h, r);
        if (i < 0) continue;
        for (int64_t t = 0; t < s.kw; ++t) {
          const int64_t j = columns.output(v, t);
          if (j < 0) continue;
          const T* in = dy + ((n * s.ho + i) * s.wo + j) * s.c_out;
          for (int64_t o = 0; o < s.c_out; ++o) {
            const T* weight = w + ((o * s.kh + r) * s.kw + t) * cg;
            for (int64_t c = 0; c < cg; ++c) out[o / og * cg + c] += in[o] * weight[c];
          }
        }
      }
    }
  });
}

template <class T>
void conv2d_weight_gradient(const cpu::ConvShape& s, const T* x, const T* dy, T* dw) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  const Axis rows = rows_of(s);
  const Axis columns = columns_of(s);
  parallel_for(s.c_out, [&](int64_t o) {
    T* filter = dw + o * s.kh * s.kw * cg;
    for (int64_t k = 0; k < s.kh * s.kw * cg; ++k) filter[k] = 0;
    for (int64_t line = 0; line < s.n * s.ho; ++line) {
      for (int64_t r = 0; r < s.kh; ++r) {
        const int64_t h = rows.source(line % s.ho, r);
        if (h < 0) continue;
        for (int64_t j = 0; j < s.wo; ++j) {
          const T d = dy[(line * s.wo + j) * s.c_out + o];
          for (int64_t t = 0; t < s.kw; ++t) {
            const int64_t v = columns.source(j, t);
            if (v < 0) continue;
            const T* in = x + ((line / s.ho * s.h + h) * s.w + v) * s.c_in + o / og * cg;
            for (int64_t c = 0; c < cg; ++c) filter[(r * s.kw + t) * cg + c] += d * in[c];
          }
        }
      }
    }
  });
}

}  // namespace decant::reference
