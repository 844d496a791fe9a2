#pragma once

#include "nn/layers/convolution.h"

namespace decant::nn {

/// Weighs channels by what the whole image holds:
///   y = x * hard_sigmoid(expand(relu(reduce(mean over the pixels of x))))
/// Parts "conv_reduce" and "conv_expand", 1x1 with bias, named as timm's.
/// Source: Hu et al. 2018, "Squeeze-and-excitation networks". Differs: the hard sigmoid, as in
/// Howard et al. 2019, "Searching for MobileNetV3".
class SqueezeExcite : public Module {
 public:
  SqueezeExcite(int64_t channels, int64_t reduced);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  Conv2d reduce_;
  Conv2d expand_;
};

}  // namespace decant::nn
