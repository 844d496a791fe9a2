#pragma once

#include "engine/core/tensor.h"
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/vectors.cuh"

// y = f(a, b, ..), element by element: one thread for as many neighbours as 16 bytes hold, the rest
// one by one. The bytes that it moves bound it.

namespace decant::cuda {

template <int kWidth, class F, class Y, class... X>
__device__ void map_group(const F& f, int64_t i, Y* y, const X*... x) {
  const auto of = [&](const auto&... in) {
    Floats<kWidth> result;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) result.at[k] = f(i + k, in.at[k]...);
    return result;
  };
  store(y + i, of(load<kWidth>(x + i)...));
}

template <int kWidth, class F, class Y, class... X>
__global__ void map_kernel(F f, int64_t n, Y* y, const X*... x) {
  const int64_t whole = n - n % kWidth;
  for (int64_t i = global_thread() * kWidth; i < whole; i += all_threads() * kWidth)
    map_group<kWidth>(f, i, y, x...);
  if (const int64_t i = whole + global_thread(); i < n) map_group<1>(f, i, y, x...);
}

struct Same {
  __device__ float operator()(int64_t /*i*/, float x) const { return x; }
};

/// y[i] = f(i, a[i], b[i], ..) of floats: f is copied to the device, Y and X are float or bf16. y
/// may be one of the others.
template <class F, class Y, class... X>
void map_elements(const Where& op, const F& f, int64_t n, Y* y, const X*... x) {
  using Narrowest =
      std::conditional_t<(std::is_same_v<X, bf16> || ... || std::is_same_v<Y, bf16>), bf16, float>;
  with_width<Narrowest>({}, {y, x...}, [&]<int kWidth>() {
    launch(op, map_kernel<kWidth, F, Y, X...>, grid_over((n + kWidth - 1) / kWidth), f, n, y, x...);
  });
}

/// The same of dense tensors, all of y's type.
template <class F, class... X>
void map_tensors(const Where& op, const F& f, Tensor& y, const X&... x) {
  with_stored_type(y.dtype(), [&]<class T>() {
    map_elements(op, f, y.size(), y.mutable_device_data<T>(), x.template device_data<T>()...);
  });
}

}  // namespace decant::cuda
