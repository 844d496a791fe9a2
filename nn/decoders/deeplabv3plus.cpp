// SMP's DeepLabV3+ decoder: atrous spatial pyramid pooling of the encoder's last map ("aspp.0"), a
// convolution in two steps ("aspp.1", "aspp.2"), enlarged to the map of stride 4, of which a 1x1
// takes 48 channels ("block1"); both together pass a last convolution in two steps ("block2").
// Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image
// segmentation".

#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "nn/decoders/aspp.h"

namespace decant::nn {
namespace {

constexpr int64_t kFineChannels = 48;
constexpr size_t kFineLevel = 2;

class DeepLabV3Plus : public Decoder {
 public:
  DeepLabV3Plus(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : Decoder({.in_channels = spec.options.channels->at(0),
                 .kernel = 1,
                 .upsampling = int64_t{1} << kFineLevel,
                 .torch_initialized = true}),
        aspp_(channels.back(), spec),
        conv_(head().in_channels, head().in_channels),
        norm_(head().in_channels, Activation::relu),
        fine_(torch_initialized({.in = channels[kFineLevel], .out = kFineChannels, .kernel = 1})),
        last_(head().in_channels + kFineChannels, head().in_channels, 1, true) {}

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    const Variable coarse =
        norm_.forward(conv_.forward(aspp_.forward(features.back(), pass)), pass);
    const Variable fine = fine_.forward(features[kFineLevel], pass);
    const Variable enlarged = resize(coarse, fine.shape()[1], fine.shape()[2],
                                     {.mode = Interpolation::bilinear, .align_corners = true});
    return last_.forward(concat({enlarged, fine}, 3), pass);
  }

  void visit(Visitor& v) override {
    v("aspp.0", aspp_);
    v("aspp.1", conv_);
    v("aspp.2", norm_);
    v("block1", fine_);
    v("block2", last_);
  }

 private:
  Aspp aspp_;
  SplitConv conv_;
  BatchNorm2d norm_;
  ConvNormAct fine_;
  AtrousConv last_;
};

const bool kRegistered = register_decoder(
    "deeplabv3plus", {.make = make_as<DeepLabV3Plus>,
                      .usual_options = [](int64_t) { return aspp_options(true, 16); }});

}  // namespace
}  // namespace decant::nn
