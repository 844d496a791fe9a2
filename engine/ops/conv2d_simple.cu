// One thread per result, which adds up all of its products in order; neighbouring threads take
// neighbouring channels. Meant to be read and believed; bound by its uncoalesced reads of w.
#include "engine/cuda/kernel.cuh"
#include "engine/ops/conv2d_cases.h"

namespace decant::cuda::simple {
namespace {

/// The row of x that output row i reads through tap r, or -1; columns likewise.
__device__ int64_t source(int64_t i, int64_t r, const ConvShape& s, int64_t offset, int64_t size) {
  const int64_t h = i * s.stride + r * s.dilation - offset;
  return h >= 0 && h < size ? h : -1;
}

/// The output row that reads row h of x through tap r, or -1; columns likewise.
__device__ int64_t reader(int64_t h, int64_t r, const ConvShape& s, int64_t offset, int64_t size) {
  const int64_t from = h + offset - r * s.dilation;
  return from >= 0 && from % s.stride == 0 && from / s.stride < size ? from / s.stride : -1;
}

template <class T>
__global__ void forward_kernel(const T* __restrict__ x, const float* __restrict__ w,
                               const float* __restrict__ bias, T* __restrict__ y, ConvShape s) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  for (int64_t at = global_thread(); at < s.n * s.ho * s.wo * s.c_out; at += all_threads()) {
    const int64_t o = at % s.c_out;
    const int64_t j = at / s.c_out % s.wo;
    const int64_t i = at / (s.c_out * s.wo) % s.ho;
    const int64_t n = at / (s.c_out * s.wo * s.ho);
    float sum = bias == nullptr ? 0.0F : bias[o];
    for (int64_t r = 0; r < s.kh; ++r)
      for (int64_t t = 0; t < s.kw; ++t) {
        const int64_t h = source(i, r, s, s.top, s.h);
        const int64_t v = source(j, t, s, s.left, s.w);
        if (h < 0 || v < 0) continue;
        const T* in = x + ((n * s.h + h) * s.w + v) * s.c_in + o / og * cg;
        const float* filter = w + ((o * s.kh + r) * s.kw + t) * cg;
        for (int64_t c = 0; c < cg; ++c) sum += float(in[c]) * filter[c];
      }
    y[at] = T(sum);
  }
}

template <class T>
__global__ void input_gradient_kernel(const T* __restrict__ dy, const float* __restrict__ w,
                                      const float* __restrict__ bias, T* __restrict__ dx,
                                      ConvShape s) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  for (int64_t at = global_thread(); at < s.n * s.h * s.w * s.c_in; at += all_threads()) {
    const int64_t c = at % s.c_in;
    const int64_t v = at / s.c_in % s.w;
    const int64_t h = at / (s.c_in * s.w) % s.h;
    const int64_t n = at / (s.c_in * s.w * s.h);
    const int64_t first = c / cg * og;  // output channel of the group
    float sum = bias == nullptr ? 0.0F : bias[c];
    for (int64_t r = 0; r < s.kh; ++r)
      for (int64_t t = 0; t < s.kw; ++t) {
        const int64_t i = reader(h, r, s, s.top, s.ho);
        const int64_t j = reader(v, t, s, s.left, s.wo);
        if (i < 0 || j < 0) continue;
        const T* in = dy + ((n * s.ho + i) * s.wo + j) * s.c_out;
        for (int64_t o = first; o < first + og; ++o)
          sum += float(in[o]) * w[((o * s.kh + r) * s.kw + t) * cg + c % cg];
      }
    dx[at] = T(sum);
  }
}

template <class T>
__global__ void weight_gradient_kernel(const T* __restrict__ x, const T* __restrict__ dy,
                                       float* __restrict__ dw, ConvShape s) {
  const int64_t cg = s.c_in / s.groups;
  const int64_t og = s.c_out / s.groups;
  for (int64_t at = global_thread(); at < s.c_out * s.kh * s.kw * cg; at += all_threads()) {
    const int64_t t = at / cg % s.kw;
    const int64_t r = at / (cg * s.kw) % s.kh;
    const int64_t o = at / (cg * s.kw * s.kh);
    const int64_t c = o / og * cg + at % cg;
    float sum = 0.0F;
    for (int64_t line = 0; line < s.n * s.ho; ++line) {
      const int64_t h = source(line % s.ho, r, s, s.top, s.h);
      if (h < 0) continue;
      for (int64_t j = 0; j < s.wo; ++j) {
        const int64_t v = source(j, t, s, s.left, s.w);
        if (v < 0) continue;
        sum += float(dy[(line * s.wo + j) * s.c_out + o]) *
               float(x[((line / s.ho * s.h + h) * s.w + v) * s.c_in + c]);
      }
    }
    dw[at] = sum;
  }
}

}  // namespace

void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y) {
  with_stored_type(x.dtype(), [&]<class T>() {
    launch("conv2d", forward_kernel<T>, grid_over(y.size()), x.device_data<T>(),
           w.device_data<float>(), data_or_null(bias), y.mutable_device_data<T>(), s);
  });
}

void input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                    Tensor& dx) {
  with_stored_type(dy.dtype(), [&]<class T>() {
    launch("conv2d, input gradient", input_gradient_kernel<T>, grid_over(dx.size()),
           dy.device_data<T>(), w.device_data<float>(), data_or_null(bias),
           dx.mutable_device_data<T>(), s);
  });
}

void weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  with_stored_type(x.dtype(), [&]<class T>() {
    launch("conv2d, weight gradient", weight_gradient_kernel<T>, grid_over(dw.size()),
           x.device_data<T>(), dy.device_data<T>(), dw.mutable_device_data<float>(), s);
  });
}

}  // namespace decant::cuda::simple
