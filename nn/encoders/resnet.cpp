// ResNet and ResNeXt as torchvision builds them, without their classifier.
//   conv1 7x7/2, bn1, relu = f1;  max pool 3x3/2, layer1 = f2;  layer2..4 = f3..f5
// Sources: He et al. 2016, "Deep residual learning"; Xie et al. 2017, "Aggregated residual
// transformations". Differs from the first as torchvision does: a bottleneck's stride sits on its
// 3x3 convolution.

#include <array>

#include "engine/ops/pool.h"
#include "nn/encoders/encoder.h"
#include "nn/layers/conv_norm_act.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

struct ResNetSpec {
  std::array<int, 4> blocks;
  bool bottleneck;
  int groups = 1;
  int group_width = 64;  ///< channels of one group of a bottleneck whose planes are 64
};

/// y = relu(bn(conv(.. x ..)) + shortcut(x)): two 3x3 convolutions (basic), or 1x1, 3x3, 1x1 with
/// four times the channels in the end (bottleneck).
class ResidualBlock : public Module {
 public:
  ResidualBlock(const ResNetSpec& spec, int64_t in, int64_t planes, int stride, int dilation)
      : out_(spec.bottleneck ? 4 * planes : planes) {
    const auto add = [&](const Conv2dSpec& conv) {
      convs_.push_back(std::make_unique<Conv2d>(dilated(conv, dilation)));
      norms_.push_back(std::make_unique<BatchNorm2d>(conv.out, Activation::relu));
    };
    if (spec.bottleneck) {
      const int64_t middle = planes * spec.group_width / 64 * spec.groups;
      add({.in = in, .out = middle, .kernel = 1});
      add({.in = middle, .out = middle, .stride = stride, .groups = spec.groups});
      add({.in = middle, .out = out_, .kernel = 1});
    } else {
      add({.in = in, .out = planes, .stride = stride});
      add({.in = planes, .out = planes});
    }
    if (stride != 1 || in != out_)
      downsample_ = std::make_unique<ConvNormAct>(
          dilated({.in = in, .out = out_, .kernel = 1, .stride = stride}, dilation),
          Activation::none);
  }

  Variable forward(const Variable& x, const Pass& pass) {
    const Trace::Scope scope(name());
    const Variable shortcut = downsample_ ? downsample_->forward(x, pass) : x;
    Variable y = x;
    for (size_t i = 0; i < convs_.size(); ++i)
      y = norms_[i]->forward(convs_[i]->forward(y), pass,
                             i + 1 == convs_.size() ? shortcut : Variable{});
    return y;
  }

  void visit(Visitor& v) override {
    for (size_t i = 0; i < convs_.size(); ++i) {
      v(str("conv", i + 1), *convs_[i]);
      v(str("bn", i + 1), *norms_[i]);
    }
    if (downsample_) v("downsample", *downsample_);
  }

  int64_t out() const { return out_; }

 private:
  int64_t out_;
  std::vector<std::unique_ptr<Conv2d>> convs_;
  std::vector<std::unique_ptr<BatchNorm2d>> norms_;
  std::unique_ptr<ConvNormAct> downsample_;
};

class ResNet : public Encoder {
 public:
  ResNet(const ResNetSpec& spec, const NetworkSpec& network)
      : Encoder(channels_of(spec, network.in_channels), network, Dilates::yes),
        conv1_(image_conv({.in = network.in_channels, .out = 64, .kernel = 7, .stride = 2})),
        bn1_(64, Activation::relu) {
    int64_t in = 64;
    for (size_t layer = 0; layer < 4; ++layer) {
      for (int i = 0; i < spec.blocks[layer]; ++i) {
        const int stride = layer > 0 && i == 0 ? 2 : 1;
        layers_[layer].push_back(std::make_unique<ResidualBlock>(
            spec, in, int64_t{64} << layer, stride, dilation(int64_t{4} << layer)));
        in = layers_[layer].back()->out();
      }
    }
  }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    std::vector<Variable> features = {x, bn1_.forward(conv1_.forward(x), pass)};
    Variable y = max_pool2d(features.back(), {.kernel = 3, .stride = 2, .padding = 1});
    for (const auto& layer : layers_) {
      if (is_complete(features)) break;
      for (const auto& block : layer) y = block->forward(y, pass);
      features.push_back(y);
    }
    return features;
  }

  void visit(Visitor& v) override {
    v("conv1", conv1_);
    v("bn1", bn1_);
    for (size_t layer = 0; layer < layers_.size(); ++layer)
      for (size_t i = 0; i < layers_[layer].size(); ++i)
        v(str("layer", layer + 1, '.', i), *layers_[layer][i]);
  }

 private:
  static std::vector<int64_t> channels_of(const ResNetSpec& spec, int64_t in_channels) {
    const int64_t k = spec.bottleneck ? 4 : 1;
    return {in_channels, 64, k * 64, k * 128, k * 256, k * 512};
  }

  Conv2d conv1_;
  BatchNorm2d bn1_;
  std::array<std::vector<std::unique_ptr<ResidualBlock>>, 4> layers_;
};

bool register_resnet(std::string_view name, const ResNetSpec& spec) {
  return register_encoder(
      name, [spec](const NetworkSpec& network) { return std::make_unique<ResNet>(spec, network); });
}

const bool kRegistered[] = {
    register_resnet("resnet18", {.blocks = {2, 2, 2, 2}, .bottleneck = false}),
    register_resnet("resnet34", {.blocks = {3, 4, 6, 3}, .bottleneck = false}),
    register_resnet("resnet50", {.blocks = {3, 4, 6, 3}, .bottleneck = true}),
    register_resnet("resnet101", {.blocks = {3, 4, 23, 3}, .bottleneck = true}),
    register_resnet("resnet152", {.blocks = {3, 8, 36, 3}, .bottleneck = true}),
    register_resnet("resnext50_32x4d",
                    {.blocks = {3, 4, 6, 3}, .bottleneck = true, .groups = 32, .group_width = 4}),
    register_resnet("resnext101_32x8d",
                    {.blocks = {3, 4, 23, 3}, .bottleneck = true, .groups = 32, .group_width = 8}),
};

}  // namespace
}  // namespace decant::nn
