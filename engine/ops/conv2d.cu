// Which kernel takes which convolution; the kernels are in conv2d_*.cu.
#include "engine/ops/column_sums.h"
#include "engine/ops/conv2d_cases.h"
#include "engine/ops/conv2d_passes.h"
#include "engine/ops/matmul_kernels.h"

namespace decant::cuda {
namespace {

using cpu::is_pointwise;  // a matrix product of pixels and weights

// Images and weights as matrices: a row is a pixel or an output channel.
Tensor rows_of(const Tensor& t, int64_t columns) {
  return t.reshape({t.size() / columns, columns});
}

// Weights as products want them beside images of this type.
Tensor stored_as(DType images, const Tensor& w) {
  return w.dtype() == images ? w : w.rounded();
}

}  // namespace

void conv2d_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    Tensor& y) {
  if (is_pointwise(s)) {
    Tensor pixels = rows_of(y, s.c_out);
    product(rows_of(x, s.c_in), false, rows_of(w, s.c_in), true, bias, pixels);
  } else if (depthwise::takes(s, x, y)) {
    depthwise::forward(s, x, w, bias, y);
  } else if (gemm::takes(s)) {
    gemm::forward(s, x, stored_as(x.dtype(), w), bias, y);
  } else {
    simple::forward(s, x, w, bias, y);
  }
}

void conv2d_input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w,
                           const Tensor& bias, Tensor& dx) {
  if (is_pointwise(s)) {
    Tensor pixels = rows_of(dx, s.c_in);
    product(rows_of(dy, s.c_out), false, rows_of(w, s.c_in), false, bias, pixels);
  } else if (depthwise::takes(s, dy, dx)) {
    depthwise::input_gradient(s, dy, w, bias, dx);
  } else if (gemm::takes(s)) {
    gemm::input_gradient(s, dy, stored_as(dy.dtype(), w), bias, dx);
  } else {
    simple::input_gradient(s, dy, w, bias, dx);
  }
}

void conv2d_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  if (is_pointwise(s)) {
    Tensor filters = rows_of(dw, s.c_in);
    product(rows_of(dy, s.c_out), true, rows_of(x, s.c_in), false, {}, filters);
  } else if (depthwise::takes(s, x, dy)) {
    depthwise::weight_gradient(s, x, dy, dw);
  } else if (gemm::takes(s)) {
    gemm::weight_gradient(s, x, dy, dw);
  } else {
    simple::weight_gradient(s, x, dy, dw);
  }
}

void conv2d_bias_gradient(const Tensor& dy, Tensor& db) {
  const int64_t channels = dy.shape()[-1];
  column_sums("conv2d, bias gradient", dy, dy.size() / channels, channels, db);
}

}  // namespace decant::cuda
