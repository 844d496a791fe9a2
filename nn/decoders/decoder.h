#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module.h"
#include "nn/network_spec.h"

namespace decant::nn {

/// Takes an encoder's maps to one map from which the head makes logits.
class Decoder : public Module {
 public:
  /// What the segmentation head looks like: a convolution, then bilinear enlargement of the logits
  /// where the decoder's map is smaller than the image.
  struct Head {
    int64_t in_channels;
    int kernel;
    int64_t upsampling = 1;
    bool align_corners = true;       ///< as SMP enlarges; else half-pixel centres
    bool torch_initialized = false;  ///< PyTorch's default values, not Glorot's
  };

  /// features as Encoder::forward returns them -> [N, H / upsampling, W / upsampling, in_channels]
  virtual Variable forward(const std::vector<Variable>& features, const Pass& pass) = 0;

  const Head& head() const { return head_; }

 protected:
  explicit Decoder(const Head& head) : head_(head) {}

 private:
  Head head_;
};

/// A decoder as specs name it.
struct DecoderKind {
  /// `channels` are Encoder::channels(), the spec is resolved().
  std::function<std::unique_ptr<Decoder>(const std::vector<int64_t>& channels, const NetworkSpec&)>
      make;
  /// The options that it takes, with their usual values.
  std::function<DecoderOptions(int64_t depth)> usual_options = [](int64_t) {
    return DecoderOptions{};
  };
  int64_t usual_depth = 5;
  std::string own_encoder = {};  ///< of a spec that names none; empty where it must name one
};

/// Makes a decoder known by its name, as register_encoder does.
bool register_decoder(std::string_view name, DecoderKind kind);

/// A class as `make` of its kind.
template <class D>
std::unique_ptr<Decoder> make_as(const std::vector<int64_t>& channels, const NetworkSpec& spec) {
  return std::make_unique<D>(channels, spec);
}

}  // namespace decant::nn
