#include "engine/cuda/blas.h"
#include "engine/ops/column_sums.h"
#include "engine/ops/matmul_kernels.h"

namespace decant::cuda {

void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
             const Tensor& bias, Tensor& y) {
  const int64_t depth = a.shape()[transpose_a ? 0 : 1];
  if (depth == 0) {  // the gradient of a layer that saw no rows; there is no bias then
    y.fill(0);
    return;
  }
  product({.m = y.shape()[0],
           .n = y.shape()[1],
           .k = depth,
           .transpose_a = transpose_a,
           .transpose_b = transpose_b,
           .bias = bias.defined() ? bias.device_data<float>() : nullptr,
           .precision = precision()},
          a.device_data<float>(), b.device_data<float>(), y.mutable_device_data<float>());
}

void sum_rows(const Tensor& x, Tensor& sums) {
  column_sums("linear, bias gradient", x, x.shape()[0], x.shape()[1], sums);
}

}  // namespace decant::cuda
