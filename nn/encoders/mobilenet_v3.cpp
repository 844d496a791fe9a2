// MobileNetV3 as timm builds it for features, under SMP 0.3's names: everything lies under
// "model.", and there is no classifier and no last 1x1 to 1024 or 1280 channels.
//
//   model.conv_stem.weight, model.bn1.*                                           3x3/2
//   model.blocks.0.0.{conv_dw, bn1, se.conv_reduce, se.conv_expand, conv_pw, bn2}
//   model.blocks.{stage}.{i}.{conv_pw, bn1, conv_dw, bn2, se.*, conv_pwl, bn3}
//   model.blocks.{last}.0.{conv, bn1}                                             1x1
// (Some stages have no se; convolutions have a weight, those of se a bias too.) Maps f1 .. f5 are
// the last of each size: of the small one those of the stem and of stages 0, 1, 3 and the last 1x1,
// of the large one, whose stage 0 keeps the size, of stages 0, 1, 2, 4 and the last 1x1. "minimal"
// is the one for devices that have only 3x3 and relu, and no squeeze-and-excitation.
//
// It is the network as TensorFlow trained it (timm's tf_mobilenetv3_*): convolutions of stride 2
// are padded by TensorFlow's SAME rule, batch norm has eps 1e-3. All channel counts are scaled by
// the width and rounded to multiples of 8; an expansion is taken of the rounded input and rounded
// in turn. Sources: Howard et al. 2019, "Searching for MobileNetV3", tables 1 and 2; timm 0.9's
// names, rounding and initial values.

#include <array>
#include <span>

#include "nn/encoders/encoder.h"
#include "nn/encoders/round_channels.h"
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
  int dilation = 1;
};

constexpr Activation kRelu = Activation::relu;
constexpr Activation kSwish = Activation::hard_swish;
constexpr double kEps = 1e-3;

constexpr BlockSpec kSmall[] = {
    {1, 3, 2, 4.5, 24, false, kRelu}, {1, 3, 1, 3.67, 24, false, kRelu},
    {2, 5, 2, 4, 40, true, kSwish},   {2, 5, 1, 6, 40, true, kSwish},
    {2, 5, 1, 6, 40, true, kSwish},   {3, 5, 1, 3, 48, true, kSwish},
    {3, 5, 1, 3, 48, true, kSwish},   {4, 5, 2, 6, 96, true, kSwish},
    {4, 5, 1, 6, 96, true, kSwish},   {4, 5, 1, 6, 96, true, kSwish},
};

constexpr BlockSpec kLarge[] = {
    {1, 3, 2, 4, 24, false, kRelu},    {1, 3, 1, 3, 24, false, kRelu},
    {2, 5, 2, 3, 40, true, kRelu},     {2, 5, 1, 3, 40, true, kRelu},
    {2, 5, 1, 3, 40, true, kRelu},     {3, 3, 2, 6, 80, false, kSwish},
    {3, 3, 1, 2.5, 80, false, kSwish}, {3, 3, 1, 2.3, 80, false, kSwish},
    {3, 3, 1, 2.3, 80, false, kSwish}, {4, 3, 1, 6, 112, true, kSwish},
    {4, 3, 1, 6, 112, true, kSwish},   {5, 5, 2, 6, 160, true, kSwish},
    {5, 5, 1, 6, 160, true, kSwish},   {5, 5, 1, 6, 160, true, kSwish},
};

struct Variant {
  std::span<const BlockSpec> blocks;
  int first_stride;              ///< of stage 0
  bool first_squeeze;            ///< whether stage 0 has se
  std::array<size_t, 3> tapped;  ///< stages after 0 whose last maps are among f1 .. f4; 0: none
  std::array<int64_t, 5> out;    ///< channels of f1 .. f5
};

constexpr Variant kSmallVariant = {kSmall, 2, true, {1, 3}, {16, 16, 24, 48, 576}};
constexpr Variant kLargeVariant = {kLarge, 1, false, {1, 2, 4}, {16, 24, 40, 112, 960}};

/// timm's initial values: N(0, 2 / (kernel^2 out / groups)).
Conv2dSpec timm_conv(int64_t in, int64_t out, int kernel, int stride = 1, bool depthwise = false,
                     int dilation = 1) {
  Conv2dSpec spec{.in = in,
                  .out = out,
                  .kernel = kernel,
                  .stride = stride,
                  .dilation = dilation,
                  .groups = depthwise ? static_cast<int>(in) : 1};
  if (stride > 1) spec.padding = PaddingRule::same_up;
  spec.weight_init = he_normal(static_cast<double>(spec.fan_out()) / spec.groups);
  return spec;
}

int64_t squeezed(int64_t channels) {
  return round_channels(0.25 * static_cast<double>(channels));
}

std::unique_ptr<SqueezeExcite> squeeze(bool wanted, int64_t channels) {
  return wanted ? std::make_unique<SqueezeExcite>(channels, squeezed(channels)) : nullptr;
}

/// The first block: no expansion; a shortcut where it keeps the size.
class DepthwiseSeparable : public Module {
 public:
  DepthwiseSeparable(int64_t channels, int stride, bool squeezes)
      : has_shortcut_(stride == 1),
        conv_dw_(timm_conv(channels, channels, 3, stride, true)),
        bn1_(channels, kRelu, kEps),
        se_(squeeze(squeezes, channels)),
        conv_pw_(timm_conv(channels, channels, 1)),
        bn2_(channels, Activation::none, kEps) {}

  Variable forward(const Variable& x, const Pass& pass) {
    const Trace::Scope scope(name());
    Variable y = bn1_.forward(conv_dw_.forward(x), pass);
    if (se_) y = se_->forward(y);
    return bn2_.forward(conv_pw_.forward(y), pass, has_shortcut_ ? x : Variable{});
  }

  void visit(Visitor& v) override {
    v("conv_dw", conv_dw_);
    v("bn1", bn1_);
    if (se_) v("se", *se_);
    v("conv_pw", conv_pw_);
    v("bn2", bn2_);
  }

 private:
  bool has_shortcut_;
  Conv2d conv_dw_;
  BatchNorm2d bn1_;
  std::unique_ptr<SqueezeExcite> se_;
  Conv2d conv_pw_;
  BatchNorm2d bn2_;
};

class InvertedResidual : public Module {
 public:
  InvertedResidual(const BlockSpec& spec, int64_t in, int64_t middle, int64_t out)
      : has_shortcut_(spec.stride == 1 && in == out),
        conv_pw_(timm_conv(in, middle, 1)),
        bn1_(middle, spec.activation, kEps),
        conv_dw_(timm_conv(middle, middle, spec.kernel, spec.stride, true, spec.dilation)),
        bn2_(middle, spec.activation, kEps),
        se_(squeeze(spec.squeeze, middle)),
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

class MobileNetV3 : public Encoder {
 public:
  MobileNetV3(const Variant& variant, double width, bool minimal, const NetworkSpec& network)
      : Encoder({network.in_channels, scaled(variant.out[0], width), scaled(variant.out[1], width),
                 scaled(variant.out[2], width), scaled(variant.out[3], width),
                 scaled(variant.out[4], width)},
                network, Dilates::yes),
        variant_(variant),
        activation_(minimal ? kRelu : kSwish),
        conv_stem_(timm_conv(network.in_channels, channels()[1], 3, 2)),
        bn1_(channels()[1], activation_, kEps),
        first_(channels()[1], variant.first_stride, variant.first_squeeze && !minimal),
        last_(
            timm_conv(scaled(variant.blocks.back().out, width), scaled(variant.out[4], width), 1)),
        last_norm_(scaled(variant.out[4], width), activation_, kEps) {
    int64_t in = channels()[1];
    int64_t stride = 2 * variant.first_stride;  // of the maps so far, in the whole encoder
    for (BlockSpec spec : variant.blocks) {
      if (minimal) {
        spec.kernel = 3;
        spec.squeeze = false;
        spec.activation = kRelu;
      }
      // As timm does it: a block that gives up its stride still has the dilation of those before.
      spec.dilation = dilation(stride);
      stride *= spec.stride;
      if (dilation(stride) != spec.dilation) spec.stride = 1;
      const int64_t middle = round_channels(static_cast<double>(in) * spec.expansion);
      const int64_t out = scaled(spec.out, width);
      blocks_.push_back(std::make_unique<InvertedResidual>(spec, in, middle, out));
      in = out;
    }
  }

  /// At even sizes SAME pads a 3 x 3 by nothing before and a 5 x 5 by one: each layer of
  /// stride 2 takes cell i to 2 i + 1, five of them together to 32 i + 31; those that an output
  /// stride dilates are centred.
  double offset() const override { return static_cast<double>(stride() - 1); }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    const std::span<const BlockSpec> specs = variant_.blocks;
    std::vector<Variable> features = {x};
    Variable y = bn1_.forward(conv_stem_.forward(x), pass);
    if (variant_.first_stride == 2) features.push_back(y);
    y = first_.forward(y, pass);
    features.push_back(y);
    for (size_t i = 0; i < blocks_.size() && !is_complete(features); ++i) {
      y = blocks_[i]->forward(y, pass);
      const size_t stage = specs[i].stage;
      const bool ends = i + 1 == blocks_.size() || specs[i + 1].stage != stage;
      if (ends && std::ranges::count(variant_.tapped, stage) != 0) features.push_back(y);
    }
    if (!is_complete(features)) features.push_back(last_norm_.forward(last_.forward(y), pass));
    return features;
  }

  void visit(Visitor& v) override {
    v("model.conv_stem", conv_stem_);
    v("model.bn1", bn1_);
    v("model.blocks.0.0", first_);
    const std::span<const BlockSpec> specs = variant_.blocks;
    size_t index = 0;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (i > 0 && specs[i].stage != specs[i - 1].stage) index = 0;
      v(str("model.blocks.", specs[i].stage, '.', index++), *blocks_[i]);
    }
    const std::string last = str("model.blocks.", specs.back().stage + 1, ".0.");
    v(last + "conv", last_);
    v(last + "bn1", last_norm_);
  }

 private:
  static int64_t scaled(int64_t channels, double width) {
    return round_channels(static_cast<double>(channels) * width);
  }

  const Variant& variant_;
  Activation activation_;
  Conv2d conv_stem_;
  BatchNorm2d bn1_;
  DepthwiseSeparable first_;
  std::vector<std::unique_ptr<InvertedResidual>> blocks_;
  Conv2d last_;
  BatchNorm2d last_norm_;
};

bool register_mobilenet(std::string_view name, const Variant& variant, double width,
                        bool minimal = false) {
  return register_encoder(name, [&variant, width, minimal](const NetworkSpec& network) {
    return std::make_unique<MobileNetV3>(variant, width, minimal, network);
  });
}

const bool kRegistered[] = {
    register_mobilenet("mobilenet_v3_small_075", kSmallVariant, 0.75),
    register_mobilenet("mobilenet_v3_small_100", kSmallVariant, 1.0),
    register_mobilenet("mobilenet_v3_small_minimal_100", kSmallVariant, 1.0, true),
    register_mobilenet("mobilenet_v3_large_075", kLargeVariant, 0.75),
    register_mobilenet("mobilenet_v3_large_100", kLargeVariant, 1.0),
    register_mobilenet("mobilenet_v3_large_minimal_100", kLargeVariant, 1.0, true),
};

}  // namespace
}  // namespace decant::nn
