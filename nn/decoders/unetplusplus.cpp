// SMP's Unet++ decoder. Block x_{i}_{j} works at the size of skip j, the coarsest being skip 0, and
// makes the (j - i + 1)-th map of that size: of the map before it, x_{i}_{j-1}, enlarged, and all
// earlier maps of its own size, the encoder's among them. The blocks x_0_{j} have the decoder's
// channels, the others those of their skip; the last, x_0_{n}, has no skip.
// Source: Zhou et al. 2018, "UNet++". Differs as SMP does: only the last block's map makes logits.

#include "engine/ops/shape_ops.h"
#include "nn/decoders/unet_block.h"

namespace decant::nn {
namespace {

class UnetPlusPlus : public Decoder {
 public:
  UnetPlusPlus(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : Decoder({.in_channels = spec.options.channels->back(), .kernel = 3}),
        centre_(centre_of(spec, channels.back())),
        rows_(channels.size() - 2) {
    const std::vector<int64_t>& outputs = *spec.options.channels;
    const auto skip = [&](size_t j) { return channels[channels.size() - 2 - j]; };
    const auto make = [&](int64_t in, int64_t beside, int64_t out) {
      return std::make_unique<UnetBlock>(in, beside, out, spec.options);
    };
    for (size_t j = 0; j < rows_.size(); ++j)
      for (size_t i = 0; i <= j; ++i) {
        const int64_t coarsest = j > 0 ? outputs[j - 1] : channels.back();
        const auto maps = static_cast<int64_t>(j + 1 - i);
        rows_[j].push_back(i == 0 ? make(coarsest, maps * skip(j), outputs[j])
                                  : make(skip(j - 1), maps * skip(j), skip(j)));
      }
    last_ = make(outputs[outputs.size() - 2], 0, outputs.back());
  }

  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    // Of each size: what its blocks have made, x_j_j first.
    std::vector<std::vector<Variable>> maps(rows_.size());
    const auto feature = [&](size_t j) { return features[features.size() - 1 - j]; };
    for (size_t j = 0; j < rows_.size(); ++j)
      for (size_t i = j + 1; i-- > 0;) {
        // Its own size's maps in the order of their names, x_{i+1}_j before x_j_j, then the skip.
        std::vector<Variable> beside(maps[j].rbegin(), maps[j].rend());
        beside.push_back(feature(j + 1));
        const Variable& coarser = i == j ? feature(j) : maps[j - 1][j - 1 - i];
        maps[j].push_back(
            rows_[j][i]->forward(coarser, beside.size() > 1 ? concat(beside, 3) : beside[0], pass));
      }
    return last_->forward(maps.back().back(), Variable{}, pass);
  }

  void visit(Visitor& v) override {
    if (centre_) v("center", *centre_);
    for (size_t j = 0; j < rows_.size(); ++j)
      for (size_t i = 0; i <= j; ++i) v(str("blocks.x_", i, '_', j), *rows_[j][i]);
    v(str("blocks.x_0_", rows_.size()), *last_);
  }

 private:
  std::unique_ptr<CentreBlock> centre_;  // never asked, as in SMP, where it is in the state dict
  std::vector<std::vector<std::unique_ptr<UnetBlock>>> rows_;  // [j][i]
  std::unique_ptr<UnetBlock> last_;
};

const bool kRegistered = register_decoder(
    "unetplusplus", {.make = make_as<UnetPlusPlus>, .usual_options = unet_options});

}  // namespace
}  // namespace decant::nn
