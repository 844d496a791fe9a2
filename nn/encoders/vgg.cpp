// VGG with batch norm as torchvision builds it, without its classifier.
//   features.N: 3x3 with bias, bn, relu, and so on; a max pool 2x2 ends each of five groups
// Its maps are those before each pool, the first at the image's own size, and the one after the
// last pool = f5. There is no map of the image itself.
// Source: Simonyan & Zisserman 2015, "Very deep convolutional networks", table 1, A, B, D and E.

#include <array>

#include "engine/ops/pool.h"
#include "nn/encoders/encoder.h"
#include "nn/layers/batch_norm.h"
#include "nn/layers/convolution.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

constexpr size_t kGroups = 5;
constexpr std::array<int64_t, kGroups> kChannels = {64, 128, 256, 512, 512};

class Vgg : public Encoder {
 public:
  Vgg(const std::array<int, kGroups>& layers, const NetworkSpec& network)
      : Encoder({64, 128, 256, 512, 512, 512}, network) {
    int64_t in = network.in_channels;
    size_t index = 0;  // in torchvision's list of features: convolution, norm, relu; and pools
    for (size_t group = 0; group < kGroups; ++group) {
      for (int i = 0; i < layers[group]; ++i) {
        const Conv2dSpec spec{.in = in, .out = kChannels[group], .bias = true};
        layers_[group].push_back(
            std::make_unique<Layer>(index, index == 0 ? image_conv(spec) : spec));
        in = kChannels[group];
        index += 3;
      }
      ++index;
    }
  }

  /// A pool takes cell i to the middle of its two pixels, 2 i + 1/2: five of them to 32 i + 31/2, n
  /// to 2^n i + (2^n - 1) / 2.
  double offset() const override { return static_cast<double>(stride() - 1) / 2; }

  std::vector<Variable> forward(const Variable& x, const Pass& pass) override {
    const Trace::Scope scope(name());
    std::vector<Variable> features;
    Variable y = x;
    for (const auto& group : layers_) {
      for (const auto& layer : group) y = layer->norm.forward(layer->conv.forward(y), pass);
      features.push_back(y);
      if (is_complete(features)) return features;
      y = max_pool2d(y, {.kernel = 2, .stride = 2});
    }
    features.push_back(y);
    return features;
  }

  void visit(Visitor& v) override {
    for (const auto& group : layers_) {
      for (const auto& layer : group) {
        v(str("features.", layer->index), layer->conv);
        v(str("features.", layer->index + 1), layer->norm);
      }
    }
  }

 private:
  struct Layer {
    Layer(size_t at, const Conv2dSpec& spec)
        : index(at), conv(spec), norm(spec.out, Activation::relu) {}
    size_t index;
    Conv2d conv;
    BatchNorm2d norm;
  };

  std::array<std::vector<std::unique_ptr<Layer>>, kGroups> layers_;
};

bool register_vgg(std::string_view name, const std::array<int, kGroups>& layers) {
  return register_encoder(name, [layers](const NetworkSpec& network) {
    return std::make_unique<Vgg>(layers, network);
  });
}

const bool kRegistered[] = {
    register_vgg("vgg11_bn", {1, 1, 2, 2, 2}),
    register_vgg("vgg13_bn", {2, 2, 2, 2, 2}),
    register_vgg("vgg16_bn", {2, 2, 3, 3, 3}),
    register_vgg("vgg19_bn", {2, 2, 4, 4, 4}),
};

}  // namespace
}  // namespace decant::nn
