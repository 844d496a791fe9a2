// SMP's Unet decoder: per level a nearest enlargement to the skip's size, the skip beside it, and
// two 3x3 convolutions; the last level has no skip. On a VGG,
// whose last map has just been pooled, two more come first ("center"). Channels 256, 128, 64,
// 32, 16. Source: Ronneberger et al. 2015, "U-Net". Differs as SMP does: batch norm, padded
// convolutions, nearest enlargement in place of transposed convolutions.

#include "engine/ops/resize.h"
#include "nn/decoders/level_decoder.h"
#include "nn/layers/conv_norm_act.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

class UnetBlock : public Module {
 public:
  UnetBlock(int64_t in, int64_t skip, int64_t out)
      : conv1_(decoder_conv(in + skip, out)), conv2_(decoder_conv(out, out)) {}

  Variable forward(const Variable& x, const Variable& skip, const Pass& pass) {
    const Trace::Scope scope(name());
    return conv2_.forward(conv1_.forward(upsample_concat(x, skip), pass), pass);
  }

  void visit(Visitor& v) override {
    v("conv1", conv1_);
    v("conv2", conv2_);
  }

 private:
  ConvNormAct conv1_;
  ConvNormAct conv2_;
};

class Unet : public LevelDecoder<UnetBlock> {
 public:
  Unet(const std::vector<int64_t>& channels, const NetworkSpec& network)
      : LevelDecoder({.in_channels = 16, .kernel = 3}) {
    const bool has_center = network.encoder.starts_with("vgg");
    for (int i = 0; has_center && i < 2; ++i)
      center_.push_back(
          std::make_unique<ConvNormAct>(decoder_conv(channels.back(), channels.back())));
    int64_t in = channels.back();
    for (size_t level = channels.size() - 1; level-- > 0;) {
      const int64_t skip = level > 0 ? channels[level] : 0;
      const int64_t out = int64_t{16} << level;
      blocks_.push_back(std::make_unique<UnetBlock>(in, skip, out));
      in = out;
    }
  }

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    if (center_.empty()) return LevelDecoder::forward(features, pass);
    std::vector<Variable> centred = features;
    {
      const Trace::Scope scope(name());
      for (const auto& conv : center_) centred.back() = conv->forward(centred.back(), pass);
    }
    return LevelDecoder::forward(centred, pass);
  }

  void visit(Visitor& v) override {
    for (size_t i = 0; i < center_.size(); ++i) v(str("center.", i), *center_[i]);
    LevelDecoder::visit(v);
  }

 private:
  std::vector<std::unique_ptr<ConvNormAct>> center_;
};

const bool kRegistered = register_decoder("unet", {.make = make_as<Unet>});

}  // namespace
}  // namespace decant::nn
