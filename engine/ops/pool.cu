// One thread per result, or per 16 bytes of neighbouring channels. Forward reads x once from memory
// (the overlap of windows from the cache) and writes y and the winners; backward gathers, so that
// no two threads add to one place: it reads dy and the winners, and writes dx.
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/vectors.cuh"
#include "engine/ops/image_place.cuh"
#include "engine/ops/pool_kernels.h"

namespace decant::cuda {
namespace {

struct Window {
  int64_t kernel, stride, padding;
};

template <int kWidth>
using Winners = Words<int32_t, kWidth>;

template <int kWidth, class T>
__global__ void max_pool_kernel(const T* __restrict__ x, ImageSize from, Window window,
                                T* __restrict__ y, int32_t* __restrict__ winner, ImageSize to) {
  for (int64_t i = global_thread(); i < to.count(); i += all_threads()) {
    const ImagePlace place(to, i);
    const int64_t top = place.h * window.stride - window.padding;
    const int64_t left = place.w * window.stride - window.padding;
    const int64_t last_h = min(window.kernel, from.h - top);
    const int64_t last_w = min(window.kernel, from.w - left);
    Floats<kWidth> best;
    Winners<kWidth> where;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      best.at[k] = -INFINITY;
      where.at[k] = -1;
    }
    for (int64_t kh = max(int64_t{0}, -top); kh < last_h; ++kh)
      for (int64_t kw = max(int64_t{0}, -left); kw < last_w; ++kw) {
        const int64_t pixel = (place.n * from.h + top + kh) * from.w + left + kw;
        const Floats<kWidth> in = load<kWidth>(x + (pixel * from.c + place.c) * kWidth);
        const auto here = static_cast<int32_t>(kh * window.kernel + kw);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          // NaN wins, so that it shows; of equals the first.
          const float v = in.at[k];
          const bool wins = v > best.at[k] || v != v || where.at[k] < 0;
          best.at[k] = wins ? v : best.at[k];
          where.at[k] = wins ? here : where.at[k];
        }
      }
    store(y + i * kWidth, best);
    reinterpret_cast<Winners<kWidth>*>(winner)[i] = where;
  }
}

template <int kWidth, class T>
__global__ void max_pool_backward_kernel(const T* __restrict__ dy,
                                         const int32_t* __restrict__ winner, ImageSize from,
                                         Window window, T* __restrict__ dx, ImageSize to) {
  // The first window that reaches position p, and the one after the last.
  const auto first_of = [window](int64_t p) {
    return max(int64_t{0}, (p + window.padding - window.kernel + window.stride) / window.stride);
  };
  const auto end_of = [window](int64_t p, int64_t outputs) {
    return min(outputs, (p + window.padding) / window.stride + 1);
  };
  for (int64_t i = global_thread(); i < to.count(); i += all_threads()) {
    const ImagePlace place(to, i);
    Floats<kWidth> sum = {};
    const int64_t first_w = first_of(place.w);
    const int64_t end_w = end_of(place.w, from.w);
    const int64_t end_h = end_of(place.h, from.h);
    for (int64_t oh = first_of(place.h); oh < end_h; ++oh)
      for (int64_t ow = first_w; ow < end_w; ++ow) {
        const int64_t kh = place.h + window.padding - oh * window.stride;
        const int64_t kw = place.w + window.padding - ow * window.stride;
        const auto here = static_cast<int32_t>(kh * window.kernel + kw);
        const int64_t group = ((place.n * from.h + oh) * from.w + ow) * from.c + place.c;
        const Winners<kWidth> where = reinterpret_cast<const Winners<kWidth>*>(winner)[group];
        const Floats<kWidth> g = load<kWidth>(dy + group * kWidth);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) sum.at[k] += where.at[k] == here ? g.at[k] : 0.0F;
      }
    store(dx + i * kWidth, sum);
  }
}

Window window_of(const PoolOptions& pool) {
  return {pool.kernel, pool.stride, pool.padding};
}

}  // namespace

void max_pool_forward(const Tensor& x, const PoolOptions& pool, Tensor& y, Tensor& winner) {
  auto* winners = winner.mutable_device_data<int32_t>();
  with_stored_type(x.dtype(), [&]<class T>() {
    const T* in = x.device_data<T>();
    T* out = y.mutable_device_data<T>();
    with_width<T>({x.shape()[3]}, {in, out, winners}, [&]<int kWidth>() {
      const ImageSize to = ImageSize::of(y.shape(), kWidth);
      launch("max_pool2d", max_pool_kernel<kWidth, T>, grid_over(to.count()), in,
             ImageSize::of(x.shape(), kWidth), window_of(pool), out, winners, to);
    });
  });
}

void max_pool_backward(const Tensor& dy, const Tensor& winner, const PoolOptions& pool,
                       Tensor& dx) {
  const auto* winners = winner.device_data<int32_t>();
  with_stored_type(dy.dtype(), [&]<class T>() {
    const T* in = dy.device_data<T>();
    T* out = dx.mutable_device_data<T>();
    with_width<T>({dx.shape()[3]}, {in, out, winners}, [&]<int kWidth>() {
      const ImageSize to = ImageSize::of(dx.shape(), kWidth);
      launch("max_pool2d backward", max_pool_backward_kernel<kWidth, T>, grid_over(to.count()), in,
             winners, ImageSize::of(dy.shape(), kWidth), window_of(pool), out, to);
    });
  });
}

}  // namespace decant::cuda
