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

/// dx = dy * Op::df(kept), `kept` being x or y as Op::kReads says.
template <class Op>
void map_backward(const Tensor& kept, const Tensor& dy, Tensor& dx) {
  with_real_type(dy.dtype(), [&]<class T>() {
    const T* in = kept.data<T>();
    const T* g = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(dx.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = g[i] * Op::df(in[i]);
    });
  });
}

}  // namespace decant::cpu

namespace decant::cuda {

template <class Op>
void map_forward(const Tensor& x, Tensor& y);
template <class Op>
void map_backward(const Tensor& kept, const Tensor& dy, Tensor& dx);

}  // namespace decant::cuda
