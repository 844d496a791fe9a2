#include "engine/cuda/blas.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/check/tolerance.h"
#include "engine/core/tensor.h"

using namespace decant;
using namespace decant::cuda;

namespace {

Tensor transposed(const Tensor& t) {
  const int64_t rows = t.shape()[0];
  const int64_t columns = t.shape()[1];
  Tensor result({columns, rows});
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result.mutable_data<float>()[j * rows + i] = t.data<float>()[i * columns + j];
  return result;
}

struct Sum {
  Tensor a, b;  // float32 on the CPU, not transposed
  double before = 0;
  Tensor bias = {};
  bool relu = false;
};

// |got - expected| / |expected|, where sums are double.
double relative_error(const Tensor& got, const Sum& expected) {
  const int64_t m = expected.a.shape()[0];
  const int64_t k = expected.a.shape()[1];
  const int64_t n = expected.b.shape()[1];
  const Tensor y = got.to(Device::cpu).to(DType::f32);
  double squares = 0;
  double scale = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = expected.before;
      if (expected.bias.defined()) sum += static_cast<double>(expected.bias.data<float>()[j]);
      for (int64_t l = 0; l < k; ++l)
        sum += static_cast<double>(expected.a.data<float>()[i * k + l]) *
               static_cast<double>(expected.b.data<float>()[l * n + j]);
      if (expected.relu) sum = std::max(sum, 0.0);
      const double error = static_cast<double>(y.data<float>()[i * n + j]) - sum;
      squares += error * error;
      scale += sum * sum;
    }
  return std::sqrt(squares / scale);
}

}  // namespace

TEST_CASE("products of every transposition, mode and epilogue agree with sums in double") {
  constexpr int64_t kM = 37;
  constexpr int64_t kN = 24;
  constexpr int64_t kK = 65;
  const Tensor a = randn({kM, kK}, 1).to(DType::f32);
  const Tensor b = randn({kK, kN}, 2).to(DType::f32);
  const Tensor bias = randn({kN}, 3).to(DType::f32).to(Device::cuda);
  const Tensor bias_host = bias.to(Device::cpu);
  for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16})
    for (int variant = 0; variant < 32; ++variant) {
      const bool ta = (variant & 1) != 0;
      const bool tb = (variant & 2) != 0;
      const bool with_bias = (variant & 4) != 0;
      const bool relu = (variant & 8) != 0;
      const bool accumulate = (variant & 16) != 0;
      CAPTURE(variant);
      const Tensor left = (ta ? transposed(a) : a).to(Device::cuda);
      const Tensor right = (tb ? transposed(b) : b).to(Device::cuda);
      Tensor y = Tensor::full({kM, kN}, 0.5, DType::f32, Device::cuda);
      product({.m = kM,
               .n = kN,
               .k = kK,
               .transpose_a = ta,
               .transpose_b = tb,
               .bias = with_bias ? bias.device_data<float>() : nullptr,
               .relu = relu,
               .accumulate = accumulate,
               .precision = precision},
              left.device_data<float>(), right.device_data<float>(),
              y.mutable_device_data<float>());
      const double error = relative_error(y, {.a = a,
                                              .b = b,
                                              .before = accumulate ? 0.5 : 0,
                                              .bias = with_bias ? bias_host : Tensor(),
                                              .relu = relu});
      const double allowed = tolerance(kK, 1, {.to = precision, .of_each = 2, .values = kM * kN});
      CHECK(error < allowed);
#ifdef DECANT_EMULATED  // the mode is what was asked for; cublasLt is free to choose a finer one
      if (precision != Precision::f32) CHECK(error > allowed / 100);
#endif
    }
}

TEST_CASE("a bias may lie anywhere") {
  constexpr int64_t kM = 5;
  constexpr int64_t kN = 16;
  constexpr int64_t kK = 8;
  const Tensor a = randn({kM, kK}, 1).to(DType::f32);
  const Tensor b = randn({kK, kN}, 2).to(DType::f32);
  const Tensor biases = randn({kN + 1}, 3).to(DType::f32);
  Tensor shifted({kN});
  for (int64_t i = 0; i < kN; ++i) shifted.mutable_data<float>()[i] = biases.data<float>()[i + 1];
  const Tensor left = a.to(Device::cuda);
  const Tensor right = b.to(Device::cuda);
  const Tensor there = biases.to(Device::cuda);
  Tensor y({kM, kN}, DType::f32, Device::cuda);
  product({.m = kM, .n = kN, .k = kK, .bias = there.device_data<float>() + 1},
          left.device_data<float>(), right.device_data<float>(), y.mutable_device_data<float>());
  const double error = relative_error(y, {.a = a, .b = b, .bias = shifted});
  CHECK(error < tolerance(kK, 1, {.values = kM * kN}));
}

TEST_CASE("products of bf16 operands round nothing but a bf16 result") {
  constexpr int64_t kM = 37;
  constexpr int64_t kN = 24;
  constexpr int64_t kK = 65;
  const Tensor a = randn({kM, kK}, 1).to(DType::bf16).to(DType::f32);
  const Tensor b = randn({kK, kN}, 2).to(DType::bf16).to(DType::f32);
  for (const DType result : {DType::f32, DType::bf16})
    for (int variant = 0; variant < 4; ++variant) {
      CAPTURE(result);
      CAPTURE(variant);
      const bool ta = (variant & 1) != 0;
      const bool tb = (variant & 2) != 0;
      const Tensor left = (ta ? transposed(a) : a).to(DType::bf16).to(Device::cuda);
      const Tensor right = (tb ? transposed(b) : b).to(DType::bf16).to(Device::cuda);
      Tensor y({kM, kN}, result, Device::cuda);
      with_stored_type(result, [&]<class T>() {
        product({.m = kM, .n = kN, .k = kK, .transpose_a = ta, .transpose_b = tb},
                left.device_data<bf16>(), right.device_data<bf16>(), y.mutable_device_data<T>());
      });
      const double error = relative_error(y, {.a = a, .b = b});
      const bool rounds = result == DType::bf16;
      const double allowed =
          tolerance(kK, 1, {.to = Precision::bf16, .of_each = rounds ? 1 : 0, .values = kM * kN});
      CHECK(error < allowed);
      if (rounds) CHECK(error > allowed / 100);
    }
}

TEST_CASE("products of slices read and write nothing beside them") {
  const Tensor x = randn({5, 7}, 1).to(DType::f32);
  const Tensor w = randn({3, 4}, 2).to(DType::f32);
  Tensor y = Tensor::full({5, 6}, -9, DType::f32, Device::cuda);
  // Columns 2..4 of x times w into columns 1..4 of y.
  product({.m = 5, .n = 4, .k = 3, .a_stride = 7, .y_stride = 6},
          x.to(Device::cuda).device_data<float>() + 2, w.to(Device::cuda).device_data<float>(),
          y.mutable_device_data<float>() + 1);
  const Tensor got = y.to(Device::cpu);
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t j = 0; j < 6; ++j) {
      double sum = -9;
      if (j >= 1 && j < 5) {
        sum = 0;
        for (int64_t l = 0; l < 3; ++l)
          sum += static_cast<double>(x.data<float>()[7 * i + 2 + l]) *
                 static_cast<double>(w.data<float>()[4 * l + j - 1]);
      }
      CHECK(got.data<float>()[6 * i + j] == doctest::Approx(sum).epsilon(1e-5));
    }
}

TEST_CASE("sizes of zero: no result is written, and no sum is an error") {
  Tensor y = Tensor::full({2, 2}, 1, DType::f32, Device::cuda);
  float* to = y.mutable_device_data<float>();
  product({.m = 0, .n = 2, .k = 2}, to, to, to);
  CHECK(y.view(0, {}).item() == 1);
  CHECK_THROWS_WITH_AS(product({.m = 2, .n = 2, .k = 0}, to, to, to),
                       "product: expected a sum of products, got none: 2 x 0 x 2", Error);
  CHECK_THROWS_WITH_AS(product({.m = 2, .n = 2, .k = 2, .a_stride = 1}, to, to, to),
                       "product: expected a stride of a of at least 2, got 1", Error);
}
