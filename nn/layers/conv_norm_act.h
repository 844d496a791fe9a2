#pragma once

#include "nn/layers/batch_norm.h"
#include "nn/layers/convolution.h"

namespace decant::nn {

/// y = act(bn(conv(x)) + residual), the networks' usual step. Parts "0" (convolution) and "1"
/// (batch norm), as in the peers' Sequential.
class ConvNormAct : public Module {
 public:
  explicit ConvNormAct(const Conv2dSpec& spec, Activation activation = Activation::relu);

  Variable forward(const Variable& x, const Pass& pass, const Variable& residual = {});
  void visit(Visitor& v) override;

 private:
  Conv2d conv_;
  BatchNorm2d norm_;
};

}  // namespace decant::nn
