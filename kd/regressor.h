#pragma once

#include <vector>

#include "kd/spec.h"
#include "nn/module.h"

namespace decant::kd {

/// Carries a student's hidden map to the teacher's channels: one convolution per kernel size of its
/// spec, C_S -> C_S -> .. -> C_T, zero-padded to keep the map's size, with bias, no batch norm.
/// The ReLU at the end cannot make negative values: for a teacher whose maps have some (swish,
/// hard-swish) `relu: none` lets mse reach them.
/// The paper says "two convolutional layers followed by a ReLU"; kernels 3 and 1 are our reading,
/// chosen for their cost.
/// Initial values: PyTorch's for convolutions, by parameter name.
class Regressor : public nn::Module {
 public:
  Regressor(RegressorSpec spec, int64_t student_channels, int64_t teacher_channels);

  /// hidden [N, h, w, C_S] -> [N, h, w, C_T]. `frozen`: parameters count as constants.
  Variable forward(const Variable& hidden, bool frozen = false) const;

  /// "0.weight", "0.bias", "1.weight", ..
  void visit(nn::Visitor& v) override;

 private:
  struct Layer {
    nn::Parameter weight;  ///< [out, k, k, in]
    nn::Parameter bias;    ///< [out]
  };

  RegressorSpec spec_;
  std::vector<Layer> layers_;
};

/// The same for given parameters, weight and bias of each layer in turn.
Variable regress(const Variable& hidden, const std::vector<Variable>& parameters,
                 ReluPlacement relu);

}  // namespace decant::kd
