#pragma once

#include "engine/core/tensor.h"

namespace decant::nn {

// Constants of an exported graph, computed in float64.

/// Of conv2d: weight [O, kH, kW, I], bias [O] or undefined; of conv_transpose2d [I, kH, kW, O].
struct ConvWeights {
  Tensor weight;
  Tensor bias;
  bool transposed = false;
};

/// An evaluating batch norm, y = (x - mean) / sqrt(var + eps) * scale + shift.
struct NormMoments {
  Tensor scale, shift, mean, var;
  double eps;
};

/// The convolution that gives what the batch norm gives of the convolution.
ConvWeights folded(const ConvWeights& conv, const NormMoments& norm);

/// [A, kH, kW, B] -> [A, B, kH, kW], float32.
Tensor channels_first_float(const Tensor& weight);

/// [outputs, inputs]: row i averages inputs floor(i inputs / outputs) to ceil((i + 1) inputs /
/// outputs) - 1, as adaptive_avg_pool2d does.
Tensor window_means(int64_t inputs, int64_t outputs);
Tensor transposed_matrix(const Tensor& matrix);

Tensor on_host(const Tensor& tensor);

}  // namespace decant::nn
