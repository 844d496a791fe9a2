#pragma once

#include "engine/ops/batch_norm.h"
#include "nn/module.h"

namespace decant::nn {

/// Batch normalization over the channels of a map, then an activation, in one op:
///   y = act(bn(x) + residual)
/// Named as PyTorch's BatchNorm2d: "weight", "bias", "running_mean", "running_var",
/// "num_batches_tracked".
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(int64_t channels, Activation activation = Activation::none,
                       double eps = 1e-5, double momentum = 0.1);

  Variable forward(const Variable& x, const Pass& pass, const Variable& residual = {});
  void visit(Visitor& v) override;

 private:
  Activation activation_;
  double eps_;
  double momentum_;
  Parameter weight_;
  Parameter bias_;
  Buffer running_mean_;
  Buffer running_var_;
  Buffer num_batches_tracked_;
};

}  // namespace decant::nn
