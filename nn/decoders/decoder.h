#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace decant::nn {

struct NetworkSpec;

/// Takes an encoder's maps to one map from which the head makes logits.
class Decoder : public Module {
 public:
  /// What the segmentation head looks like: a convolution, then bilinear enlargement of the logits
  /// (half-pixel centres) where the decoder's map is smaller than the image.
  struct Head {
    int64_t in_channels;
    int kernel;
    int upsampling = 1;
  };

  /// features as Encoder::forward returns them -> [N, H / upsampling, W / upsampling, in_channels]
  virtual Variable forward(const std::vector<Variable>& features, const Pass& pass) = 0;

  const Head& head() const { return head_; }

 protected:
  explicit Decoder(const Head& head) : head_(head) {}

 private:
  Head head_;
};

/// Makes a decoder known by its name. `channels` are Encoder::channels(). `own_encoder` is what a
/// spec that names no encoder gets; empty where it must name one.
bool register_decoder(std::string_view name,
                      std::function<std::unique_ptr<Decoder>(const std::vector<int64_t>& channels,
                                                             const NetworkSpec&)>
                          make,
                      std::string_view own_encoder = "");

}  // namespace decant::nn
