// MobileNetV2 as torchvision builds it, without its classifier but with the last 1x1 convolution.
// Source: Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", table 2.

#include <array>

#include "nn/encoders/encoder.h"
#include "nn/layers/conv_norm_act.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

struct Stage {
  int expansion;
  int64_t out;
  int blocks;
  int stride;
};

constexpr std::array<Stage, 7> kStages = {{{1, 16, 1, 1},
                                           {6, 24, 2, 2},
                                           {6, 32, 3, 2},
                                           {6, 64, 4, 2},
                                           {6, 96, 3, 1},
                                           {6, 160, 3, 2},
                                           {6, 320, 1, 1}}};

/// y = project(depthwise(expand(x))), plus x where the shapes agree. The projection is linear.
class InvertedResidual : public Module {
 public:
  InvertedResidual(int64_t in, int64_t out, int expansion, int stride, int dilation)
      : has_shortcut_(stride == 1 && in == out),
        project_({.in = in * expansion, .out = out, .kernel = 1}),
        project_norm_(out) {
    const int64_t middle = in * expansion;
    if (expansion != 1)
      steps_.push_back(std::make_unique<ConvNormAct>(
          Conv2dSpec{.in = in, .out = middle, .kernel = 1}, Activation::relu6));
    const Conv2dSpec depthwise = {
        .in = middle, .out = middle, .stride = stride, .groups = static_cast<int>(middle)};
    steps_.push_back(
        std::make_unique<ConvNormAct>(dilated(depthwise, dilation), Activation::relu6));
  }

  Variable forward(const Variable& x, const Pass& pass) {
    const Trace::Scope scope(name());
    Variable y = x;
    for (const auto& step : steps_) y = step->forward(y, pass);
    return project_norm_.forward(project_.forward(y), pass, has_shortcut_ ? x : Variable{});
  }

  void visit(Visitor& v) override {
    for (size_t i = 0; i < steps_.size(); ++i) v(str("conv.", i), *steps_[i]);
    v(str("conv.", steps_.size()), project_);
    v(str("conv.", steps_.size() + 1), project_norm_);
  }

 private:
  bool has_shortcut_;
  std::vector<std::unique_ptr<ConvNormAct>> steps_;
  Conv2d project_;
  BatchNorm2d project_norm_;
};

class MobileNetV2 : public Encoder {
 public:
  explicit MobileNetV2(const NetworkSpec& network)
      : Encoder({network.in_channels, 16, 24, 32, 96, 1280}, network, Dilates::yes),
        stem_(image_conv({.in = network.in_channels, .out = 32, .stride = 2}), Activation::relu6),
        last_({.in = 320, .out = 1280, .kernel = 1}, Activation::relu6) {
    int64_t in = 32;
    int64_t stride = 2;  // of a stage's maps
    for (const Stage& stage : kStages) {
      stride *= stage.stride;
      for (int i = 0; i < stage.blocks; ++i) {
        blocks_.push_back(std::make_unique<InvertedResidual>(
            in, stage.out, stage.expansion, i == 0 ? stage.stride : 1, dilation(stride)));
        in = stage.out;
      }
    }
  }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    std::vector<Variable> features = {x};
    Variable y = stem_.forward(x, pass);
    for (size_t i = 0; i < blocks_.size() && !is_complete(features); ++i) {
      y = blocks_[i]->forward(y, pass);
      const size_t index = i + 1;  // in torchvision's list of features, where the stem is number 0
      if (index == 1 || index == 3 || index == 6 || index == 13) features.push_back(y);
    }
    if (!is_complete(features)) features.push_back(last_.forward(y, pass));
    return features;
  }

  void visit(Visitor& v) override {
    v("features.0", stem_);
    for (size_t i = 0; i < blocks_.size(); ++i) v(str("features.", i + 1), *blocks_[i]);
    v("features.18", last_);
  }

 private:
  ConvNormAct stem_;
  std::vector<std::unique_ptr<InvertedResidual>> blocks_;
  ConvNormAct last_;
};

const bool kRegistered = register_encoder("mobilenet_v2", [](const NetworkSpec& network) {
  return std::make_unique<MobileNetV2>(network);
});

}  // namespace
}  // namespace decant::nn
