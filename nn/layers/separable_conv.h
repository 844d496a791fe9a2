#pragma once

#include "nn/layers/conv_norm_act.h"

namespace decant::nn {

/// A 3x3 convolution in two cheap steps, each with batch norm and ReLU: every channel by itself
/// ("dw"), then all channels of one pixel ("pw").
/// Source: Howard et al. 2017, "MobileNets", figure 3.
class SeparableConv : public Module {
 public:
  SeparableConv(int64_t in, int64_t out, int stride = 1);

  Variable forward(const Variable& x, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  ConvNormAct depthwise_;
  ConvNormAct pointwise_;
};

}  // namespace decant::nn
