#pragma once

#include "engine/core/parallel.h"
#include "engine/cpu/gemm.h"

namespace decant::reference {

/// What sgemm is judged by: c = op(a) op(b) + bias, bias [n] or null.
template <class T>
void matmul(const cpu::Gemm& g, const T* a, const T* b, const T* bias, T* c) {
  parallel_for(g.m, [&](int64_t i) {
    for (int64_t j = 0; j < g.n; ++j) {
      T sum = bias == nullptr ? T(0) : bias[j];
      for (int64_t k = 0; k < g.k; ++k) {
        const T x = g.transpose_a ? a[k * g.m + i] : a[i * g.k + k];
        const T y = g.transpose_b ? b[j * g.k + k] : b[k * g.n + j];
        sum += x * y;
      }
      c[i * g.n + j] = sum;
    }
  });
}

}  // namespace decant::reference
