// What cublasLt does for products, in scalar form: the same operands, rounded as a card rounds
// them.
#include "engine/cuda/blas.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

#include "engine/cuda/ptx.cuh"
#include "engine/cuda/stream.h"

namespace decant::cuda {
namespace {

float rounded(float value, Precision precision) {
  switch (precision) {
    case Precision::f32:
      return value;
    case Precision::tf32:
      return std::bit_cast<float>(to_tf32(value));
    case Precision::bf16:
      return bf16(value);
  }
  return value;
}

float rounded(bf16 value, Precision /*precision*/) {
  return value;
}

// op(x) as dense rows x columns of float.
template <class T>
std::vector<float> gathered(const void* data, bool transpose, int64_t stride, int64_t rows,
                            int64_t columns, Precision precision) {
  const auto* x = static_cast<const T*>(data);
  const int64_t last = transpose ? (columns - 1) * stride + rows : (rows - 1) * stride + columns;
  emulated::expect_device(x, static_cast<size_t>(last) * sizeof(T), "product, operand");
  std::vector<float> dense(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      dense[static_cast<size_t>(r * columns + c)] =
          rounded(x[transpose ? c * stride + r : r * stride + c], precision);
  return dense;
}

template <class Operand, class Result>
void run(const ProductCall& call) {
  const Product& p = call.product;
  const std::vector<float> a =
      gathered<Operand>(call.a, p.transpose_a, p.a_stride, p.m, p.k, p.precision);
  const std::vector<float> b =
      gathered<Operand>(call.b, p.transpose_b, p.b_stride, p.k, p.n, p.precision);
  auto* y = static_cast<Result*>(call.y);
  emulated::expect_device(y, static_cast<size_t>((p.m - 1) * p.y_stride + p.n) * sizeof(Result),
                          "product, result");
  std::vector<float> row(static_cast<size_t>(p.n));
  for (int64_t i = 0; i < p.m; ++i) {
    std::ranges::fill(row, 0.0F);
    for (int64_t l = 0; l < p.k; ++l) {
      const float factor = a[static_cast<size_t>(i * p.k + l)];
      const float* right = b.data() + l * p.n;
      for (int64_t j = 0; j < p.n; ++j) row[static_cast<size_t>(j)] += factor * right[j];
    }
    for (int64_t j = 0; j < p.n; ++j) {
      float sum = row[static_cast<size_t>(j)];
      if (p.accumulate) sum += static_cast<float>(y[i * p.y_stride + j]);
      if (p.bias != nullptr) sum += p.bias[j];
      if (p.relu) sum = std::max(sum, 0.0F);
      y[i * p.y_stride + j] = static_cast<Result>(sum);
    }
  }
}

}  // namespace

void multiply(const ProductCall& call) {
  if (call.product.bias != nullptr)
    emulated::expect_device(call.product.bias, static_cast<size_t>(call.product.n) * sizeof(float),
                            "product, bias");
  emulated::enqueue(compute_stream(), [call] {
    if (!call.bf16_operands)
      run<float, float>(call);
    else if (call.bf16_result)
      run<bf16, bf16>(call);
    else
      run<bf16, float>(call);
    emulated::check_forbidden("product");
  });
}

}  // namespace decant::cuda
