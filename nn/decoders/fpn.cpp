// SMP's FPN decoder: 1x1 convolutions take the encoder's last four maps to one width; from the
// coarsest on each is enlarged (nearest) and added to the next ("p5" to "p2"). Each of the four
// then passes its branch, 3x3 convolutions with group norm, each with a bilinear doubling behind it
// until the size of the finest is reached; the sum of the four makes the logits.
// Source: Kirillov et al. 2019, "Panoptic feature pyramid networks". Differs as SMP does: dropout
// of channels after the sum.

#include <array>

#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/resize.h"
#include "nn/decoders/decoder.h"
#include "nn/decoders/decoder_conv.h"
#include "nn/layers/dropout.h"

namespace decant::nn {
namespace {

constexpr size_t kLevels = 4;
constexpr int64_t kGroups = 32;

/// 3x3 convolution ("block.0"), group norm of 32 groups ("block.1"), ReLU; then, in all branches
/// but the finest, twice the size.
class BranchConv : public Module {
 public:
  BranchConv(int64_t in, int64_t out, bool doubles)
      : doubles_(doubles), conv_(decoder_conv(in, out, 3)), norm_(out, kGroups) {}

  Variable forward(const Variable& x) const {
    const Trace::Scope scope(name());
    const Variable y = relu(norm_.forward(conv_.forward(x)));
    if (!doubles_) return y;
    return resize(y, 2 * y.shape()[1], 2 * y.shape()[2],
                  {.mode = Interpolation::bilinear, .align_corners = true});
  }

  void visit(Visitor& v) override {
    v("block.0", conv_);
    v("block.1", norm_);
  }

 private:
  bool doubles_;
  Conv2d conv_;
  GroupNorm norm_;
};

/// How much smaller than the image the finest of the four maps is: what the head makes good.
int64_t upsampling(int64_t depth) {
  check(depth >= 3, "fpn: expected an encoder of a depth of at least 3, got ", depth);
  return int64_t{1} << (depth - 3);
}

class Fpn : public Decoder {
 public:
  Fpn(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : Decoder({.in_channels = spec.options.channels->at(1),
                 .kernel = 1,
                 .upsampling = upsampling(spec.depth)}),
        dropout_(*spec.options.dropout) {
    const int64_t pyramid = spec.options.channels->at(0);
    const int64_t branch = spec.options.channels->at(1);
    check(branch % kGroups == 0, "fpn: expected channels of its branches that ", kGroups,
          " groups divide, got ", branch);
    for (size_t i = 0; i < kLevels; ++i) {
      laterals_[i] = std::make_unique<Conv2d>(
          decoder_conv(channels[channels.size() - 1 - i], pyramid, 1, true));
      const size_t doublings = kLevels - 1 - i;
      for (size_t k = 0; k < std::max<size_t>(1, doublings); ++k)
        branches_[i].push_back(
            std::make_unique<BranchConv>(k == 0 ? pyramid : branch, branch, doublings > 0));
    }
  }

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    Variable level;
    Variable sum;
    for (size_t i = 0; i < kLevels; ++i) {
      const Variable lateral = laterals_[i]->forward(features[features.size() - 1 - i]);
      const Shape& s = lateral.shape();
      level = i == 0 ? lateral : add(resize(level, s[1], s[2]), lateral);
      Variable y = level;
      for (const auto& conv : branches_[i]) y = conv->forward(y);
      sum = i == 0 ? y : add(sum, y);
    }
    return drop(*this, pass, sum, dropout_, DropoutOf::channels);
  }

  void visit(Visitor& v) override {
    v("p5", *laterals_[0]);
    for (size_t i = 1; i < kLevels; ++i) v(str('p', 5 - i, ".skip_conv"), *laterals_[i]);
    for (size_t i = 0; i < kLevels; ++i)
      for (size_t k = 0; k < branches_[i].size(); ++k)
        v(str("seg_blocks.", i, ".block.", k), *branches_[i][k]);
  }

 private:
  double dropout_;
  std::array<std::unique_ptr<Conv2d>, kLevels> laterals_;  // the coarsest first
  std::array<std::vector<std::unique_ptr<BranchConv>>, kLevels> branches_;
};

DecoderOptions usual(int64_t /*depth*/) {
  return {.channels = {{256, 128}}, .dropout = 0.2};
}

const bool kRegistered = register_decoder("fpn", {.make = make_as<Fpn>, .usual_options = usual});

}  // namespace
}  // namespace decant::nn
