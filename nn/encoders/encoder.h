#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace decant::nn {

struct NetworkSpec;

/// Takes an image to maps of ever coarser resolution.
class Encoder : public Module {
 public:
  /// x [N, H, W, in_channels], H and W multiples of stride() -> f[0] = x, f[1] of half the size,
  /// .., f.back() of 1 / stride() of it: f[i] is [N, H >> i, W >> i, channels()[i]].
  virtual std::vector<Variable> forward(const Variable& x, const Pass& pass) = 0;

  /// Of every map, the image's own first.
  const std::vector<int64_t>& channels() const { return channels_; }
  int64_t stride() const { return int64_t{1} << (channels_.size() - 1); }
  /// Where the centre of the last map's first cell lies in the image, in pixels. A layer takes
  /// cell i to pixel stride i - padding + (k - 1) / 2 of its input: stride i, and so 0 in all, for
  /// a chain of odd kernels k with padding (k - 1) / 2.
  virtual double offset() const { return 0; }

 protected:
  explicit Encoder(std::vector<int64_t> channels) : channels_(std::move(channels)) {}

 private:
  std::vector<int64_t> channels_;
};

/// Makes an encoder known by its name; a file-scope constant of the encoder's source holds the
/// result:  const bool kRegistered = register_encoder("resnet18", [](const NetworkSpec& s) {...});
bool register_encoder(std::string_view name,
                      std::function<std::unique_ptr<Encoder>(const NetworkSpec&)> make);

}  // namespace decant::nn
