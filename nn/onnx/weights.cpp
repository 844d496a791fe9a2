#include "nn/onnx/weights.h"

#include <cmath>

#include "engine/ops/shape_ops.h"

namespace decant::nn {
namespace {

Tensor doubles(const Tensor& tensor) {
  return on_host(tensor).to(DType::f64);
}

Tensor reordered(const Tensor& tensor, const std::vector<int>& order) {
  const NoGrad no_grad;
  return permute(Variable(on_host(tensor)), order).value();
}

}  // namespace

Tensor on_host(const Tensor& tensor) {
  return tensor.to(Device::cpu);
}

ConvWeights folded(const ConvWeights& conv, const NormMoments& norm) {
  const Tensor scale = doubles(norm.scale);
  const Tensor shift = doubles(norm.shift);
  const Tensor mean = doubles(norm.mean);
  const Tensor var = doubles(norm.var);
  const int64_t channels = scale.size();
  const Tensor bias =
      conv.bias.defined() ? doubles(conv.bias) : Tensor::zeros({channels}, DType::f64);

  ConvWeights result{.weight = doubles(conv.weight).clone(),
                     .bias = Tensor(Shape{channels}, DType::f64),
                     .transposed = conv.transposed};
  std::vector<double> gain(static_cast<size_t>(channels));
  auto* b = result.bias.mutable_data<double>();
  for (int64_t c = 0; c < channels; ++c) {
    const double g = scale.data<double>()[c] / std::sqrt(var.data<double>()[c] + norm.eps);
    gain[static_cast<size_t>(c)] = g;
    b[c] = (bias.data<double>()[c] - mean.data<double>()[c]) * g + shift.data<double>()[c];
  }
  // Outputs are the first axis of a weight, of a transposed convolution the last.
  const int64_t per_output = result.weight.size() / channels;
  auto* w = result.weight.mutable_data<double>();
  for (int64_t i = 0; i < result.weight.size(); ++i)
    w[i] *= gain[static_cast<size_t>(conv.transposed ? i % channels : i / per_output)];
  return result;
}

Tensor channels_first_float(const Tensor& weight) {
  return reordered(weight, {0, 3, 1, 2}).to(DType::f32);
}

Tensor window_means(int64_t inputs, int64_t outputs) {
  Tensor matrix = Tensor::zeros({outputs, inputs});
  auto* m = matrix.mutable_data<float>();
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t begin = i * inputs / outputs;
    const int64_t end = ((i + 1) * inputs + outputs - 1) / outputs;
    for (int64_t j = begin; j < end; ++j)
      m[i * inputs + j] = static_cast<float>(1 / static_cast<double>(end - begin));
  }
  return matrix;
}

Tensor transposed_matrix(const Tensor& matrix) {
  return reordered(matrix, {1, 0});
}

}  // namespace decant::nn
