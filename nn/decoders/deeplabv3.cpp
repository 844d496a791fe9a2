// SMP's DeepLabV3 decoder: atrous spatial pyramid pooling of the encoder's last map, a 3x3
// convolution, and logits as coarse as that map, enlarged.
// Source: Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation".

#include "nn/decoders/aspp.h"

namespace decant::nn {
namespace {

class DeepLabV3 : public Decoder {
 public:
  DeepLabV3(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : Decoder({.in_channels = spec.options.channels->at(0),
                 .kernel = 1,
                 .upsampling = std::min(int64_t{1} << spec.depth, *spec.options.output_stride),
                 .torch_initialized = true}),
        aspp_(channels.back(), spec),
        conv_(torch_initialized({.in = head().in_channels, .out = head().in_channels})),
        bn_(head().in_channels, Activation::relu) {}

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    return bn_.forward(conv_.forward(aspp_.forward(features.back(), pass)), pass);
  }

  void visit(Visitor& v) override {
    v("aspp", aspp_);
    v("conv", conv_);
    v("bn", bn_);
  }

 private:
  Aspp aspp_;
  Conv2d conv_;
  BatchNorm2d bn_;
};

const bool kRegistered = register_decoder(
    "deeplabv3",
    {.make = make_as<DeepLabV3>, .usual_options = [](int64_t) { return aspp_options(false, 8); }});

}  // namespace
}  // namespace decant::nn
