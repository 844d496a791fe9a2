// SMP's PSPNet decoder: the encoder's last map is averaged onto grids of 1, 2, 3 and 6 cells a
// side, each with a 1x1 convolution to a quarter of the channels and enlarged (bilinear, corners
// aligned) to the map again; these and the map itself pass a 1x1 convolution. The grid of one cell
// has no norm: of one image there would be nothing to normalise by.
// Source: Zhao et al. 2017, "Pyramid scene parsing network". Differs as SMP does: an encoder of
// depth 3 without dilation, dropout of channels in the end.

#include <array>

#include "engine/ops/pool.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "nn/decoders/decoder.h"
#include "nn/decoders/decoder_conv.h"
#include "nn/layers/dropout.h"

namespace decant::nn {
namespace {

constexpr std::array<int64_t, 4> kGrids = {1, 2, 3, 6};

class PspNet : public Decoder {
 public:
  PspNet(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : Decoder({.in_channels = spec.options.channels->at(0),
                 .kernel = 3,
                 .upsampling = int64_t{1} << spec.depth}),
        dropout_(*spec.options.dropout),
        conv_(mixed(channels.back()), spec.options.channels->at(0), 1, *spec.options.norm) {
    for (const int64_t grid : kGrids)
      blocks_.push_back(std::make_unique<DecoderConv>(channels.back(), quarter(channels.back()), 1,
                                                      grid == 1 ? "identity" : *spec.options.norm));
  }

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    const Variable& x = features.back();
    std::vector<Variable> maps;
    for (size_t i = 0; i < kGrids.size(); ++i) {
      const Variable cells = adaptive_avg_pool2d(x, kGrids[i], kGrids[i]);
      maps.push_back(resize(blocks_[i]->forward(cells, pass), x.shape()[1], x.shape()[2],
                            {.mode = Interpolation::bilinear, .align_corners = true}));
    }
    maps.push_back(x);
    const Variable y = conv_.forward(concat(maps, 3), pass);
    return drop(*this, pass, y, dropout_, DropoutOf::channels);
  }

  void visit(Visitor& v) override {
    for (size_t i = 0; i < blocks_.size(); ++i) v(str("psp.blocks.", i, ".pool.1"), *blocks_[i]);
    v("conv", conv_);
  }

 private:
  static int64_t quarter(int64_t channels) {
    constexpr auto kParts = static_cast<int64_t>(kGrids.size());
    check(channels >= kParts && channels % kParts == 0,
          "pspnet: expected an encoder whose last map has channels that ", kParts, " divides, got ",
          channels);
    return channels / kParts;
  }
  static int64_t mixed(int64_t channels) { return 4 * quarter(channels) + channels; }

  double dropout_;
  std::vector<std::unique_ptr<DecoderConv>> blocks_;
  DecoderConv conv_;
};

DecoderOptions usual(int64_t /*depth*/) {
  return {.channels = {{512}}, .norm = "batchnorm", .dropout = 0.2};
}

const bool kRegistered =
    register_decoder("pspnet", {.make = make_as<PspNet>, .usual_options = usual, .usual_depth = 3});

}  // namespace
}  // namespace decant::nn
