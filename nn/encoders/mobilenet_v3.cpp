// MobileNetV3-Small as timm builds it for features, under SMP 0.3's names: everything lies under
// "model.", and there is no classifier and no last 1x1 to 1024 channels.
//
//   model.conv_stem.weight, model.bn1.*                                  3x3/2             = f1
//   model.blocks.0.0.{conv_dw, bn1, se.conv_reduce, se.conv_expand, conv_pw, bn2}          = f2
//   model.blocks.{1-4}.{i}.{conv_pw, bn1, conv_dw, bn2, se.*, conv_pwl, bn3}      stage 1  = f3
//   model.blocks.5.0.{conv, bn1}                                        1x1   stages 2, 3  = f4
//                                                                             stages 4, 5  = f5
// (stage 1 has no se; convolutions have a weight, those of se a bias too.)
// It is the network as TensorFlow trained it (timm's tf_mobilenetv3_small_*): convolutions of
// stride 2 are padded by TensorFlow's SAME rule, batch norm has eps 1e-3. All channel counts are
// scaled by the width and rounded to multiples of 8; an expansion is taken of the rounded input and
// rounded in turn. Sources: Howard et al. 2019, "Searching for MobileNetV3", table 2; timm 0.9's
// names, rounding and initial values.

#include "nn/encoders/encoder.h"
#include "nn/layers/conv_norm_act.h"
#include "nn/layers/squeeze_excite.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

struct BlockSpec {
  size_t stage;
  int kernel;
  int stride;
  double expansion;
  int64_t out;
  bool squeeze;
  Activation activation;
};

constexpr Activation kRelu = Activation::relu;
constexpr Activation kSwish = Activation::hard_swish;
constexpr double kEps = 1e-3;

constexpr BlockSpec kBlocks[] = {
    {1, 3, 2, 4.5, 24, false, kRelu}, {1, 3, 1, 3.67, 24, false, kRelu},
    {2, 5, 2, 4, 40, true, kSwish},   {2, 5, 1, 6, 40, true, kSwish},
    {2, 5, 1, 6, 40, true, kSwish},   {3, 5, 1, 3, 48, true, kSwish},
    {3, 5, 1, 3, 48, true, kSwish},   {4, 5, 2, 6, 96, true, kSwish},
    {4, 5, 1, 6, 96, true, kSwish},   {4, 5, 1, 6, 96, true, kSwish},
};

/// The multiple of 8 nearest to x, not more than a tenth below it, at least 8.
int64_t round_channels(double x) {
  const int64_t nearest = static_cast<int64_t>(x + 4) / 8 * 8;
  const int64_t rounded = std::max<int64_t>(8, nearest);
  return static_cast<double>(rounded) < 0.9 * x ? rounded + 8 : rounded;
}

/// timm's initial values: N(0, 2 / (kernel^2 out / groups)).
Conv2dSpec timm_conv(int64_t in, int64_t out, int kernel, int stride = 1, bool depthwise = false) {
  Conv2dSpec spec{.in = in,
                  .out = out,
                  .kernel = kernel,
                  .stride = stride,
                  .groups = depthwise ? static_cast<int>(in) : 1};
  if (stride > 1) spec.padding = PaddingRule::same_up;
  spec.weight_init = he_normal(static_cast<double>(spec.fan_out()) / spec.groups);
  return spec;
}

int64_t squeezed(int64_t channels) {
  return round_channels(0.25 * static_cast<double>(channels));
}

/// The first block: no expansion, and the stride leaves no shortcut.
class DepthwiseSeparable : public Module {
 public:
  explicit DepthwiseSeparable(int64_t channels)
      : conv_dw_(timm_conv(channels, channels, 3, 2, true)),
        bn1_(channels, kRelu, kEps),
        se_(channels, squeezed(channels)),
        conv_pw_(timm_conv(channels, channels, 1)),
        bn2_(channels, Activation::none, kEps) {}

  Variable forward(const Variable& x, const Pass& pass) {
    const Trace::Scope scope(name());
    const Variable y = se_.forward(bn1_.forward(conv_dw_.forward(x), pass));
    return bn2_.forward(conv_pw_.forward(y), pass);
  }

  void visit(Visitor& v) override {
    v("conv_dw", conv_dw_);
    v("bn1", bn1_);
    v("se", se_);
    v("conv_pw", conv_pw_);
    v("bn2", bn2_);
  }

 private:
  Conv2d conv_dw_;
  BatchNorm2d bn1_;
  SqueezeExcite se_;
  Conv2d conv_pw_;
  BatchNorm2d bn2_;
};

class InvertedResidual : public Module {
 public:
  InvertedResidual(const BlockSpec& spec, int64_t in, int64_t middle, int64_t out)
      : has_shortcut_(spec.stride == 1 && in == out),
        conv_pw_(timm_conv(in, middle, 1)),
        bn1_(middle, spec.activation, kEps),
        conv_dw_(timm_conv(middle, middle, spec.kernel, spec.stride, true)),
        bn2_(middle, spec.activation, kEps),
        se_(spec.squeeze ? std::make_unique<SqueezeExcite>(middle, squeezed(middle)) : nullptr),
        conv_pwl_(timm_conv(middle, out, 1)),
        bn3_(out, Activation::none, kEps) {}

  Variable forward(const Variable& x, const Pass& pass) {
    const Trace::Scope scope(name());
    Variable y = bn1_.forward(conv_pw_.forward(x), pass);
    y = bn2_.forward(conv_dw_.forward(y), pass);
    if (se_) y = se_->forward(y);
    return bn3_.forward(conv_pwl_.forward(y), pass, has_shortcut_ ? x : Variable{});
  }

  void visit(Visitor& v) override {
    v("conv_pw", conv_pw_);
    v("bn1", bn1_);
    v("conv_dw", conv_dw_);
    v("bn2", bn2_);
    if (se_) v("se", *se_);
    v("conv_pwl", conv_pwl_);
    v("bn3", bn3_);
  }

 private:
  bool has_shortcut_;
  Conv2d conv_pw_;
  BatchNorm2d bn1_;
  Conv2d conv_dw_;
  BatchNorm2d bn2_;
  std::unique_ptr<SqueezeExcite> se_;
  Conv2d conv_pwl_;
  BatchNorm2d bn3_;
};

class MobileNetV3Small : public Encoder {
 public:
  MobileNetV3Small(double width, const NetworkSpec& network)
      : Encoder({network.in_channels, scaled(16, width), scaled(16, width), scaled(24, width),
                 scaled(48, width), scaled(576, width)},
                network),
        conv_stem_(timm_conv(network.in_channels, channels()[1], 3, 2)),
        bn1_(channels()[1], kSwish, kEps),
        first_(channels()[2]),
        last_(timm_conv(scaled(96, width), scaled(576, width), 1)),
        last_norm_(scaled(576, width), kSwish, kEps) {
    int64_t in = channels()[2];
    for (const BlockSpec& spec : kBlocks) {
      const int64_t middle = round_channels(static_cast<double>(in) * spec.expansion);
      const int64_t out = scaled(spec.out, width);
      blocks_.push_back(std::make_unique<InvertedResidual>(spec, in, middle, out));
      in = out;
    }
  }

  /// At even sizes SAME pads a 3 x 3 by nothing before and a 5 x 5 by one: each of the five layers
  /// of stride 2 takes cell i to 2 i + 1, all of them together to 32 i + 31.
  double offset() const override { return static_cast<double>(stride() - 1); }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    std::vector<Variable> features = {x, bn1_.forward(conv_stem_.forward(x), pass)};
    features.push_back(first_.forward(features.back(), pass));
    Variable y = features.back();
    for (size_t i = 0; i < blocks_.size() && !is_complete(features); ++i) {
      y = blocks_[i]->forward(y, pass);
      const size_t stage = kBlocks[i].stage;
      const bool ends = i + 1 == blocks_.size() || kBlocks[i + 1].stage != stage;
      if (ends && (stage == 1 || stage == 3)) features.push_back(y);
    }
    if (!is_complete(features)) features.push_back(last_norm_.forward(last_.forward(y), pass));
    return features;
  }

  void visit(Visitor& v) override {
    v("model.conv_stem", conv_stem_);
    v("model.bn1", bn1_);
    v("model.blocks.0.0", first_);
    size_t index = 0;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (i > 0 && kBlocks[i].stage != kBlocks[i - 1].stage) index = 0;
      v(str("model.blocks.", kBlocks[i].stage, '.', index++), *blocks_[i]);
    }
    v("model.blocks.5.0.conv", last_);
    v("model.blocks.5.0.bn1", last_norm_);
  }

 private:
  static int64_t scaled(int64_t channels, double width) {
    return round_channels(static_cast<double>(channels) * width);
  }

  Conv2d conv_stem_;
  BatchNorm2d bn1_;
  DepthwiseSeparable first_;
  std::vector<std::unique_ptr<InvertedResidual>> blocks_;
  Conv2d last_;
  BatchNorm2d last_norm_;
};

bool register_small(std::string_view name, double width) {
  return register_encoder(name, [width](const NetworkSpec& network) {
    return std::make_unique<MobileNetV3Small>(width, network);
  });
}

const bool kRegistered[] = {register_small("mobilenet_v3_small_075", 0.75),
                            register_small("mobilenet_v3_small_100", 1.0)};

}  // namespace
}  // namespace decant::nn
