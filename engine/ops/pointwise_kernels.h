#pragma once

#include "engine/core/parallel.h"
#include "engine/core/tensor.h"
#include "engine/ops/pointwise_ops.h"

namespace decant::cpu {

/// y = Op::f(x)
template <class Op>
void map_forward(const Tensor& x, Tensor& y) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = Op::f(in[i]);
    });
  });
}

/// dx = dy * Op::df(x, y)
template <class Op>
void map_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const T* out = y.data<T>();
    const T* g = dy.data<T>();
    T* result = dx.mutable_data<T>();
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) result[i] = g[i] * Op::df(in[i], out[i]);
    });
  });
}

}  // namespace decant::cpu

namespace decant::cuda {

template <class Op>
void map_forward(const Tensor& x, Tensor& y);
template <class Op>
void map_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx);

}  // namespace decant::cuda
