// The way up of the thin U-Net (see encoders/thin.cpp): per level a nearest enlargement, the skip
// beside it, and one separable convolution, up to half the image's size; the logits are enlarged.

#include "engine/ops/resize.h"
#include "nn/decoders/decoder.h"
#include "nn/encoders/thin.h"
#include "nn/layers/separable_conv.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

class ThinUnet : public Decoder {
 public:
  ThinUnet(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : Decoder({.in_channels = thin_decoder_channels(spec.width, 1),
                 .kernel = 1,
                 .upsampling = 2,
                 .align_corners = false}) {
    int64_t in = channels.back();
    for (size_t level = channels.size() - 2; level >= 1; --level) {
      const int64_t out = thin_decoder_channels(spec.width, static_cast<int64_t>(level));
      convs_.push_back(std::make_unique<SeparableConv>(in + channels[level], out));
      in = out;
    }
  }

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    Variable y = features.back();
    for (size_t i = 0; i < convs_.size(); ++i)
      y = convs_[i]->forward(upsample_concat(y, features[convs_.size() - i]), pass);
    return y;
  }

  void visit(Visitor& v) override {
    for (size_t i = 0; i < convs_.size(); ++i) v(str("blocks.", i), *convs_[i]);
  }

 private:
  std::vector<std::unique_ptr<SeparableConv>> convs_;
};

const bool kRegistered =
    register_decoder("thin_unet", {.make = make_as<ThinUnet>, .own_encoder = "thin"});

}  // namespace
}  // namespace decant::nn
