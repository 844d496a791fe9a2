// Which kernel takes which convolution; the kernels are in conv2d_*.cu.
#include "engine/cuda/blas.h"
#include "engine/ops/column_sums.h"
#include "engine/ops/conv2d_cases.h"
#include "engine/ops/conv2d_passes.h"

namespace decant::cuda {
namespace {

const float* data_or_null(const Tensor& t) {
  return t.defined() ? t.device_data<float>() : nullptr;
}

// A matrix product of pixels and weights.
bool is_pointwise(const ConvShape& s) {
  return s.kh == 1 && s.kw == 1 && s.stride == 1 && s.groups == 1 && s.ho == s.h && s.wo == s.w &&
         s.top == 0 && s.left == 0;
}

}  // namespace

void conv2d_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    Tensor& y) {
  const auto* in = x.device_data<float>();
  const auto* weights = w.device_data<float>();
  auto* out = y.mutable_device_data<float>();
  if (is_pointwise(s))
    product({.m = s.n * s.h * s.w,
             .n = s.c_out,
             .k = s.c_in,
             .transpose_b = true,
             .bias = data_or_null(bias),
             .precision = precision()},
            in, weights, out);
  else if (depthwise::takes(s, in, out))
    depthwise::forward(s, in, weights, data_or_null(bias), out);
  else if (gemm::takes(s))
    gemm::forward(s, in, weights, data_or_null(bias), out);
  else
    simple::forward(s, in, weights, data_or_null(bias), out);
}

void conv2d_input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w,
                           const Tensor& bias, Tensor& dx) {
  const auto* in = dy.device_data<float>();
  const auto* weights = w.device_data<float>();
  auto* out = dx.mutable_device_data<float>();
  if (is_pointwise(s))
    product({.m = s.n * s.h * s.w,
             .n = s.c_in,
             .k = s.c_out,
             .bias = data_or_null(bias),
             .precision = precision()},
            in, weights, out);
  else if (depthwise::takes(s, in, out))
    depthwise::input_gradient(s, in, weights, data_or_null(bias), out);
  else if (gemm::takes(s))
    gemm::input_gradient(s, in, weights, data_or_null(bias), out);
  else
    simple::input_gradient(s, in, weights, data_or_null(bias), out);
}

void conv2d_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  const auto* in = x.device_data<float>();
  const auto* gradient = dy.device_data<float>();
  auto* out = dw.mutable_device_data<float>();
  if (is_pointwise(s))
    product({.m = s.c_out,
             .n = s.c_in,
             .k = s.n * s.h * s.w,
             .transpose_a = true,
             .precision = precision()},
            gradient, in, out);
  else if (depthwise::takes(s, in, gradient))
    depthwise::weight_gradient(s, in, gradient, out);
  else if (gemm::takes(s))
    gemm::weight_gradient(s, in, gradient, out);
  else
    simple::weight_gradient(s, in, gradient, out);
}

void conv2d_bias_gradient(const Tensor& dy, Tensor& db) {
  const int64_t channels = dy.shape()[-1];
  column_sums("conv2d, bias gradient", dy, dy.size() / channels, channels, db);
}

}  // namespace decant::cuda
