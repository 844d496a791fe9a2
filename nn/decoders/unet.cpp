// SMP's Unet decoder: per level a nearest enlargement to the skip's size, the skip beside it, and
// two 3x3 convolutions; the last level has no skip.
// On a VGG, whose last map has just been pooled, two more come first ("center"). Source:
// Ronneberger et al. 2015, "U-Net". Differs as SMP does: batch norm, padded convolutions, nearest
// enlargement in place of transposed convolutions.

#include "nn/decoders/unet_block.h"

namespace decant::nn {
namespace {

class Unet : public LevelDecoder<UnetBlock> {
 public:
  Unet(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : LevelDecoder({.in_channels = spec.options.channels->back(), .kernel = 3}),
        centre_(centre_of(spec, channels.back())) {
    for_levels(channels, *spec.options.channels, [&](int64_t in, int64_t skip, int64_t out) {
      blocks_.push_back(std::make_unique<UnetBlock>(in, skip, out, spec.options));
    });
  }

  void visit(Visitor& v) override {
    if (centre_) v("center", *centre_);
    LevelDecoder::visit(v);
  }

 protected:
  Variable centre(const Variable& x, const Pass& pass) override {
    return centre_ ? centre_->forward(x, pass) : x;
  }

 private:
  std::unique_ptr<CentreBlock> centre_;
};

const bool kRegistered =
    register_decoder("unet", {.make = make_as<Unet>, .usual_options = unet_options});

}  // namespace
}  // namespace decant::nn
