// The way down of the thin U-Net: a 3x3/2 convolution, then per level two separable convolutions,
// the first with stride 2. No pooling: with odd, symmetric kernels only, its cells lie where a
// ResNet's of the same stride lie, so that hidden maps of teacher and student can be compared.
// Source: Vaze et al. 2020, "Low-memory CNNs enabling real-time ultrasound segmentation towards
// mobile deployment": a thin U-Net of separable convolutions. Differs: their levels all have the
// same width and are joined by max pooling.

#include "nn/encoders/thin.h"

#include <array>
#include <cmath>

#include "nn/encoders/encoder.h"
#include "nn/layers/separable_conv.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

constexpr std::array<double, kThinMaxDepth> kDown = {1, 1.5, 3, 6, 10, 10, 10};
constexpr std::array<double, kThinMaxDepth> kUp = {1, 2, 4, 6, 10, 10, 10};

int64_t scaled(double factor, int64_t width) {
  return std::max<int64_t>(1, std::llround(factor * static_cast<double>(width)));
}

std::vector<int64_t> channels_of(const NetworkSpec& spec) {
  check(spec.width >= 1 && spec.width <= 1024, "thin_unet: expected a width of 1 to 1024, got ",
        spec.width);
  check(spec.depth >= 2 && spec.depth <= kThinMaxDepth, "thin_unet: expected a depth of 2 to ",
        kThinMaxDepth, ", got ", spec.depth);
  std::vector<int64_t> channels = {spec.in_channels};
  for (int64_t level = 1; level <= spec.depth; ++level)
    channels.push_back(thin_encoder_channels(spec.width, level));
  return channels;
}

class ThinEncoder : public Encoder {
 public:
  explicit ThinEncoder(const NetworkSpec& spec)
      : Encoder(channels_of(spec), spec),
        stem_({.in = spec.in_channels, .out = channels()[1], .stride = 2}) {
    for (size_t i = 2; i < channels().size(); ++i) {
      convs_.push_back(std::make_unique<SeparableConv>(channels()[i - 1], channels()[i], 2));
      convs_.push_back(std::make_unique<SeparableConv>(channels()[i], channels()[i]));
    }
  }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    std::vector<Variable> features = {x, stem_.forward(x, pass)};
    for (size_t i = 0; i < convs_.size(); i += 2)
      features.push_back(convs_[i + 1]->forward(convs_[i]->forward(features.back(), pass), pass));
    return features;
  }

  void visit(Visitor& v) override {
    v("stem", stem_);
    for (size_t i = 0; i < convs_.size(); ++i) v(str("level", i / 2 + 2, '.', i % 2), *convs_[i]);
  }

 private:
  ConvNormAct stem_;
  std::vector<std::unique_ptr<SeparableConv>> convs_;
};

const bool kRegistered = register_encoder(
    "thin", [](const NetworkSpec& spec) { return std::make_unique<ThinEncoder>(spec); });

}  // namespace

int64_t thin_encoder_channels(int64_t width, int64_t level) {
  return scaled(kDown.at(static_cast<size_t>(level - 1)), width);
}

int64_t thin_decoder_channels(int64_t width, int64_t level) {
  return scaled(kUp.at(static_cast<size_t>(level - 1)), width);
}

}  // namespace decant::nn
