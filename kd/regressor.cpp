#include "kd/regressor.h"

#include <utility>

#include "engine/core/error.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/pointwise.h"
#include "nn/layers/convolution.h"

namespace decant::kd {

Regressor::Regressor(RegressorSpec spec, int64_t student_channels, int64_t teacher_channels)
    : spec_(std::move(spec)) {
  check(student_channels > 0 && teacher_channels > 0,
        "Regressor: expected channels on both sides, got student ", student_channels,
        " and teacher ", teacher_channels);
  for (size_t i = 0; i < spec_.kernels.size(); ++i) {
    const int64_t kernel = spec_.kernels[i];
    const int64_t out = i + 1 == spec_.kernels.size() ? teacher_channels : student_channels;
    const auto init = nn::torch_default(static_cast<double>(kernel * kernel * student_channels));
    layers_.push_back(
        {.weight = {{out, kernel, kernel, student_channels}, init}, .bias = {{out}, init}});
  }
}

Variable Regressor::forward(const Variable& hidden, bool frozen) const {
  std::vector<Variable> parameters;
  for (const Layer& layer : layers_)
    for (const Variable& p : {layer.weight.variable, layer.bias.variable})
      parameters.push_back(frozen ? p.detach() : p);
  return regress(hidden, parameters, spec_.relu);
}

void Regressor::visit(nn::Visitor& v) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    v(str(i, ".weight"), layers_[i].weight);
    v(str(i, ".bias"), layers_[i].bias);
  }
}

Variable regress(const Variable& hidden, const std::vector<Variable>& parameters,
                 ReluPlacement relu_at) {
  Variable x = hidden;
  for (size_t i = 0; i < parameters.size(); i += 2) {
    const Variable& weight = parameters[i];
    x = conv2d(x, weight, parameters[i + 1], {.padding = static_cast<int>(weight.shape()[1] / 2)});
    const bool last = i + 2 == parameters.size();
    if (relu_at == ReluPlacement::both || (last && relu_at == ReluPlacement::last)) x = relu(x);
  }
  return x;
}

}  // namespace decant::kd
