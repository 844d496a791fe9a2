#pragma once

#include <cstdint>

#include "engine/core/bf16.h"
#include "engine/core/dtype.h"
#include "engine/core/precision.h"

namespace decant::cuda {

/// Row-major y [m, n] = op(a) op(b) + bias, op(a) being [m, k] and op(b) [k, n]; a is [k, m] where
/// it is transposed, b [n, k].
struct Product {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  const float* bias = nullptr;           ///< [n], added to every row; only where y is float32
  bool relu = false;                     ///< y = max(y, 0) in the end
  bool accumulate = false;               ///< y += instead of y =
  Precision precision = Precision::f32;  ///< that float32 operands are rounded to
  // Elements from one row to the next in memory; 0: rows lie side by side.
  int64_t a_stride = 0;
  int64_t b_stride = 0;
  int64_t y_stride = 0;
};

/// Queues the product on the compute stream, with cublasLt or its emulated form. Sums are float32.
/// The algorithm is chosen once per problem (sizes, types, alignment) and kept, so that equal calls
/// give equal bits. Throws Error for sizes below 0, and where cublasLt knows no algorithm.
void product(const Product& p, const float* a, const float* b, float* y);
void product(const Product& p, const bf16* a, const bf16* b, float* y);
void product(const Product& p, const bf16* a, const bf16* b, bf16* y);

/// A checked product without empty sizes, its pointers without types, strides filled in.
struct ProductCall {
  Product product;
  const void* a;
  const void* b;
  void* y;
  bool bf16_operands;
  bool bf16_result;
};

/// What a card (blas_on_card.cpp) or the emulated device (emulated/blas.cpp) does with it.
void multiply(const ProductCall& call);

}  // namespace decant::cuda
