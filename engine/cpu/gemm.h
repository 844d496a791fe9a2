#pragma once

#include <cstdint>

namespace decant::cpu {

/// A product of dense row-major float32 matrices.
struct Gemm {
  int64_t m, n, k;
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;
  const float* bias = nullptr;  // [n], without accumulate
};

/// c [m, n] = op(a) op(b) + (c where accumulate, bias where there is one)
/// op(a) is [m, k]; with transpose_a, a itself is [k, m]. Likewise op(b) [k, n].
void sgemm(const Gemm& g, const float* a, const float* b, float* c);

}  // namespace decant::cpu
