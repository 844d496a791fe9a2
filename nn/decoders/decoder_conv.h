#pragma once

#include <memory>

#include "nn/layers/batch_norm.h"
#include "nn/layers/convolution.h"
#include "nn/layers/group_norm.h"

namespace decant::nn {

/// The normalization that a decoder's spec chose, then ReLU: batch norm, instance norm, or
/// ("identity") none. Parameters "weight" and "bias" where there is one.
class DecoderNorm : public Module {
 public:
  DecoderNorm(int64_t channels, std::string_view norm);

  Variable forward(const Variable& x, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  std::unique_ptr<BatchNorm2d> batch_norm_;  // one of the two, or neither
  std::unique_ptr<GroupNorm> instance_norm_;
};

/// y = relu(norm(conv(x))), the usual step of SMP's decoders. Parts "0" and "1"; the convolution
/// has a bias where there is no norm.
class DecoderConv : public Module {
 public:
  DecoderConv(int64_t in, int64_t out, int kernel, std::string_view norm);

  Variable forward(const Variable& x, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  Conv2d conv_;
  DecoderNorm norm_;
};

/// A spec with SMP's initial values for decoders: he_uniform of the fan-in, biases 0.
Conv2dSpec decoder_conv(int64_t in, int64_t out, int kernel, bool bias = false);

}  // namespace decant::nn
