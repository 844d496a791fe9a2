#pragma once

#include <memory>

#include "nn/layers/convolution.h"

namespace decant::nn {

/// What each channel of an image weighs: sigmoid(expand(relu(reduce(mean over the pixels)))).
///   x [N, H, W, C] -> [N, 1, 1, C]
/// Parts "1" and "3", 1x1 with bias, as in SMP's Sequential.
/// Source: Hu et al. 2018, "Squeeze-and-excitation networks".
class ChannelGate : public Module {
 public:
  ChannelGate(int64_t channels, int64_t reduced);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  Conv2d reduce_;
  Conv2d expand_;
};

/// y = x (gate of each channel + gate of each pixel), the latter sigmoid(conv(x)) with one output.
/// Parts "attention.cSE" and "attention.sSE.0", named as SMP's.
/// Source: Roy et al. 2018, "Concurrent spatial and channel squeeze & excitation", scSE. Differs as
/// SMP does: the channels are reduced to a sixteenth, not to half.
class Scse : public Module {
 public:
  /// Throws Error for fewer than 16 channels.
  explicit Scse(int64_t channels);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  ChannelGate channels_;
  Conv2d pixels_;
};

}  // namespace decant::nn
