#pragma once

#include "nn/decoders/attention.h"
#include "nn/decoders/decoder_conv.h"
#include "nn/decoders/level_decoder.h"

namespace decant::nn {

/// A level of SMP's Unet decoder: x at twice the size, the skip beside it, and two 3x3
/// convolutions, with scSE before and after them where the options say so. Parts "conv1",
/// "attention1", "conv2", "attention2".
class UnetBlock : public Module {
 public:
  UnetBlock(int64_t in, int64_t skip, int64_t out, const DecoderOptions& options);

  /// x [N, h, w, in], skip [N, 2 h, 2 w, skip] or absent -> [N, 2 h, 2 w, out]
  Variable forward(const Variable& x, const Variable& skip, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  DecoderConv conv1_;
  DecoderConv conv2_;
  std::unique_ptr<Scse> attention1_;  // null: none
  std::unique_ptr<Scse> attention2_;
};

/// Two 3x3 convolutions of the encoder's last map, which SMP puts between the encoders that have no
/// stride of their own in their first layer (vgg) and the decoder. Parts "0" and "1".
class CentreBlock : public Module {
 public:
  CentreBlock(int64_t channels, std::string_view norm);

  Variable forward(const Variable& x, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  DecoderConv conv1_;
  DecoderConv conv2_;
};

/// For encoders that SMP gives one; else null.
std::unique_ptr<CentreBlock> centre_of(const NetworkSpec& spec, int64_t channels);

/// What decoders of such levels let one choose: channels 256, 128, .., 16 (at depth 5), norm.
DecoderOptions level_options(int64_t depth);
/// The same, and attention.
DecoderOptions unet_options(int64_t depth);

}  // namespace decant::nn
