// EfficientNet-B0 to B7 as efficientnet_pytorch builds them and SMP uses them.
//   _conv_stem 3x3/2, _bn0, silu = f1
//   _blocks.N: _expand_conv, _bn0, silu (but for the first stage); _depthwise_conv, _bn1, silu;
//              _se_reduce, silu, _se_expand, sigmoid; _project_conv, _bn2; plus the block's input
// Maps f2 .. f5 are those of the blocks that SMP lists (of B0 one is the first of its stage, not
// the last). _conv_head and _bn1 are parameters of the classifier that nothing here reads: they
// stand in every file of weights, and get no gradient.
//
// Where maps are to stay large, all convolutions of the blocks after the one tapped for f3 (and
// then f4) are dilated, also those that come before a stride: SMP's stages end where it taps them.
//
// Zeros around a convolution are TensorFlow's SAME, but for the size of image that the network was
// designed for, whatever size comes: 224 x 224 for B0, 240 x 240 for B1. Where a map of that image
// has an odd size, the padding of a stride of 2 is even on both sides.
//
// While training, a block that adds its input drops its own part of whole samples, the i-th of n
// blocks with probability 0.2 i / n (drop_connect).
// Sources: Tan & Le 2019, "EfficientNet", table 1 and 3.3; Huang et al. 2016, "Deep networks with
// stochastic depth". Initial values are PyTorch's default, not TensorFlow's, as in SMP.

#include <array>
#include <cmath>

#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"
#include "nn/encoders/encoder.h"
#include "nn/encoders/round_channels.h"
#include "nn/layers/batch_norm.h"
#include "nn/layers/convolution.h"
#include "nn/layers/dropout.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

constexpr double kEps = 1e-3;
constexpr double kMomentum = 0.01;
constexpr double kDropped = 0.2;

struct Stage {
  int blocks;
  int kernel;
  int stride;
  int expansion;
  int64_t out;
};

constexpr std::array<Stage, 7> kStages = {{{1, 3, 1, 1, 16},
                                           {2, 3, 2, 6, 24},
                                           {2, 5, 2, 6, 40},
                                           {3, 3, 2, 6, 80},
                                           {3, 5, 1, 6, 112},
                                           {4, 5, 2, 6, 192},
                                           {1, 3, 1, 6, 320}}};

struct Scaling {
  double width;
  double depth;
  int64_t image;                 ///< the size of image that the padding is for
  std::array<size_t, 4> tapped;  ///< the blocks whose results are f2 .. f5
};

Conv2dSpec same_conv(int64_t in, int64_t out, int kernel, int64_t image, int stride = 1,
                     bool depthwise = false) {
  Conv2dSpec spec{.in = in,
                  .out = out,
                  .kernel = kernel,
                  .stride = stride,
                  .groups = depthwise ? static_cast<int>(in) : 1,
                  .padding = PaddingRule::same_up,
                  .padded_for = image};
  spec.weight_init = torch_default(static_cast<double>(spec.fan_in()));
  return spec;
}

Conv2dSpec squeeze_conv(int64_t in, int64_t out) {
  return {.in = in,
          .out = out,
          .kernel = 1,
          .bias = true,
          .weight_init = torch_default(static_cast<double>(in)),
          .bias_init = torch_default(static_cast<double>(in))};
}

/// A block's depthwise convolution, dilated where its maps are to stay large; then with as many
/// zeros on both sides.
Conv2dSpec depthwise_conv(int64_t channels, int kernel, int64_t image, int stride, int dilation) {
  Conv2dSpec spec = dilated(same_conv(channels, channels, kernel, image, stride, true), dilation);
  if (dilation > 1) spec.padding = PaddingRule::centred;
  return spec;
}

/// An inverted residual block with squeeze-and-excitation, of maps of image x image.
class Block : public Module {
 public:
  Block(const Stage& stage, int64_t in, int64_t out, int stride, int dilation, int64_t image)
      : has_shortcut_(stride == 1 && in == out),
        middle_(in * stage.expansion),
        expand_(stage.expansion != 1 ? std::make_unique<Conv2d>(same_conv(in, middle_, 1, image))
                                     : nullptr),
        expand_norm_(middle_, Activation::silu, kEps, kMomentum),
        depthwise_(depthwise_conv(middle_, stage.kernel, image, stride, dilation)),
        depthwise_norm_(middle_, Activation::silu, kEps, kMomentum),
        reduce_(squeeze_conv(middle_, std::max<int64_t>(1, in / 4))),
        restore_(squeeze_conv(std::max<int64_t>(1, in / 4), middle_)),
        project_(same_conv(middle_, out, 1, image)),
        project_norm_(out, Activation::none, kEps, kMomentum) {}

  Variable forward(const Variable& x, const Pass& pass, double dropped) {
    const Trace::Scope scope(name());
    Variable y = expand_ ? expand_norm_.forward(expand_->forward(x), pass) : x;
    y = depthwise_norm_.forward(depthwise_.forward(y), pass);
    const Variable squeezed = silu(reduce_.forward(adaptive_avg_pool2d(y, 1, 1)));
    y = project_.forward(mul(y, sigmoid(restore_.forward(squeezed))));
    if (!has_shortcut_) return project_norm_.forward(y, pass);
    if (!pass.training) return project_norm_.forward(y, pass, x);
    y = project_norm_.forward(y, pass);
    return add(drop(*this, pass, y, dropped, DropoutOf::samples), x);
  }

  void visit(Visitor& v) override {
    if (expand_) {
      v("_expand_conv", *expand_);
      v("_bn0", expand_norm_);
    }
    v("_depthwise_conv", depthwise_);
    v("_bn1", depthwise_norm_);
    v("_se_reduce", reduce_);
    v("_se_expand", restore_);
    v("_project_conv", project_);
    v("_bn2", project_norm_);
  }

 private:
  bool has_shortcut_;
  int64_t middle_;
  std::unique_ptr<Conv2d> expand_;
  BatchNorm2d expand_norm_;
  Conv2d depthwise_;
  BatchNorm2d depthwise_norm_;
  Conv2d reduce_;
  Conv2d restore_;
  Conv2d project_;
  BatchNorm2d project_norm_;
};

class EfficientNet : public Encoder {
 public:
  EfficientNet(const Scaling& scaling, const NetworkSpec& network)
      : Encoder({network.in_channels, wide(32, scaling), wide(24, scaling), wide(40, scaling),
                 wide(112, scaling), wide(320, scaling)},
                network, Dilates::yes),
        tapped_(scaling.tapped),
        stem_(same_conv(network.in_channels, channels()[1], 3, scaling.image, 2)),
        stem_norm_(channels()[1], Activation::silu, kEps, kMomentum),
        head_(same_conv(wide(320, scaling), wide(1280, scaling), 1, scaling.image)),
        head_norm_(wide(1280, scaling), Activation::silu, kEps, kMomentum) {
    int64_t image = scaling.image;
    int64_t in = channels()[1];
    const size_t last = tapped_[channels().size() - 3];  // the block of the last map
    reduce(3, image);
    for (const Stage& stage : kStages) {
      const int64_t out = wide(stage.out, scaling);
      const auto blocks = static_cast<int>(std::ceil(scaling.depth * stage.blocks));
      for (int i = 0; i < blocks; ++i) {
        const int stride = i == 0 ? stage.stride : 1;
        const size_t index = blocks_.size();
        const int dilated = index <= tapped_[1] ? 1 : dilation(index <= tapped_[2] ? 16 : 32);
        blocks_.push_back(std::make_unique<Block>(stage, in, out, stride, dilated, image));
        if (stride == 2 && dilated == 1 && index <= last) reduce(stage.kernel, image);
        in = out;
      }
    }
  }

  double offset() const override { return offset_; }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    std::vector<Variable> features = {x, stem_norm_.forward(stem_.forward(x), pass)};
    Variable y = features.back();
    for (size_t i = 0; i < blocks_.size() && !is_complete(features); ++i) {
      y = blocks_[i]->forward(
          y, pass, kDropped * static_cast<double>(i) / static_cast<double>(blocks_.size()));
      if (std::ranges::count(tapped_, i) != 0) features.push_back(y);
    }
    return features;
  }

  void visit(Visitor& v) override {
    v("_conv_stem", stem_);
    v("_bn0", stem_norm_);
    for (size_t i = 0; i < blocks_.size(); ++i) v(str("_blocks.", i), *blocks_[i]);
    v("_conv_head", head_);
    v("_bn1", head_norm_);
  }

 private:
  static int64_t wide(int64_t channels, const Scaling& scaling) {
    return round_channels(static_cast<double>(channels) * scaling.width);
  }

  /// A kernel of stride 2 on maps of image x image: SAME pads by k - 2 rows where that is even and
  /// by k - 1 where it is odd, half of them, rounded down, before. Cell i of the result lies on
  /// pixel 2 i - before + (k - 1) / 2.
  void reduce(int kernel, int64_t& image) {
    const auto before = static_cast<double>((kernel - 2 + image % 2) / 2);
    offset_ += scale_ * ((kernel - 1) / 2.0 - before);
    scale_ *= 2;
    image = (image + 1) / 2;
  }

  std::array<size_t, 4> tapped_;
  double offset_ = 0;
  double scale_ = 1;
  Conv2d stem_;
  BatchNorm2d stem_norm_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Conv2d head_;
  BatchNorm2d head_norm_;
};

bool register_efficientnet(std::string_view name, const Scaling& scaling) {
  return register_encoder(name, [scaling](const NetworkSpec& network) {
    return std::make_unique<EfficientNet>(scaling, network);
  });
}

const bool kRegistered[] = {
    register_efficientnet("efficientnet-b0", {1.0, 1.0, 224, {2, 4, 8, 15}}),
    register_efficientnet("efficientnet-b1", {1.0, 1.1, 240, {4, 7, 15, 22}}),
    register_efficientnet("efficientnet-b2", {1.1, 1.2, 260, {4, 7, 15, 22}}),
    register_efficientnet("efficientnet-b3", {1.2, 1.4, 300, {4, 7, 17, 25}}),
    register_efficientnet("efficientnet-b4", {1.4, 1.8, 380, {5, 9, 21, 31}}),
    register_efficientnet("efficientnet-b5", {1.6, 2.2, 456, {7, 12, 26, 38}}),
    register_efficientnet("efficientnet-b6", {1.8, 2.6, 528, {8, 14, 30, 44}}),
    register_efficientnet("efficientnet-b7", {2.0, 3.1, 600, {10, 17, 37, 54}}),
};

}  // namespace
}  // namespace decant::nn
