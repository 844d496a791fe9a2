#include "engine/cuda/blas.h"
#include "engine/ops/column_sums.h"
#include "engine/ops/conv2d_cases.h"
#include "engine/ops/matmul_kernels.h"

namespace decant::cuda {
namespace {

// cublasLt rounds the bias of a bf16 result to bf16. A convolution of 1 x 1 does not: y is its
// result or, where b is not transposed, its input gradient.
void add_bias_to_stored(const Tensor& a, const Tensor& b, bool transpose_b, const Tensor& bias,
                        Tensor& y) {
  const int64_t rows = a.shape()[0];
  const ConvShape s = {.n = rows,
                       .h = 1,
                       .w = 1,
                       .c_in = b.shape()[1],
                       .ho = 1,
                       .wo = 1,
                       .c_out = b.shape()[0],
                       .kh = 1,
                       .kw = 1,
                       .stride = 1,
                       .dilation = 1,
                       .groups = 1,
                       .top = 0,
                       .left = 0};
  check(gemm::takes(s), "product: expected fewer rows of bfloat16 and bias, got ", rows);
  (transpose_b ? gemm::forward : gemm::input_gradient)(s, a, b, bias, y);
}

}  // namespace

void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
             const Tensor& bias, Tensor& y) {
  const int64_t depth = a.shape()[transpose_a ? 0 : 1];
  if (depth == 0) {  // the gradient of a layer that saw no rows; there is no bias then
    y.fill(0);
    return;
  }
  if (a.dtype() == DType::bf16 && b.dtype() == DType::f32)  // activations beside parameters
    return product(a, transpose_a, b.rounded(), transpose_b, bias, y);
  const Product p = {.m = y.shape()[0],
                     .n = y.shape()[1],
                     .k = depth,
                     .transpose_a = transpose_a,
                     .transpose_b = transpose_b,
                     .bias = data_or_null(bias),
                     .precision = precision()};
  if (a.dtype() == DType::f32)
    product(p, a.device_data<float>(), b.device_data<float>(), y.mutable_device_data<float>());
  else if (bias.defined())
    add_bias_to_stored(a, b, transpose_b, bias, y);
  else
    with_stored_type(y.dtype(), [&]<class T>() {
      product(p, a.device_data<bf16>(), b.device_data<bf16>(), y.mutable_device_data<T>());
    });
}

void sum_rows(const Tensor& x, Tensor& sums) {
  column_sums("linear, bias gradient", x, x.shape()[0], x.shape()[1], sums);
}

}  // namespace decant::cuda
