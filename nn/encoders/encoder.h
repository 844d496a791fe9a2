#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace decant::nn {

struct NetworkSpec;

/// Takes an image to maps of ever coarser resolution.
///
/// A network may take the first maps only (the spec's depth): the stages after them are there all
/// the same, as in SMP, and have names in checkpoints, but do not run. And it may have its last
/// maps no coarser than an output stride: stages that would go beyond it convolve with stride 1 and
/// a dilation instead.
class Encoder : public Module {
 public:
  /// x [N, H, W, in_channels], H and W multiples of stride() -> f[0] = x, or a map of its
  /// size, f[1], .., f[depth]: f[i] is [N, H / s, W / s, channels()[i]] with s = 2^i, or the output
  /// stride where that is less.
  virtual std::vector<Variable> forward(const Variable& x, const Pass& pass) = 0;

  /// Of every map, that of the image's size first.
  const std::vector<int64_t>& channels() const { return channels_; }
  /// Of the last map.
  int64_t stride() const { return dilated_stride(int64_t{1} << (channels_.size() - 1)); }
  /// Where the centre of the last map's first cell lies in the image, in pixels. A layer takes
  /// cell i to pixel stride i - padding + dilation (k - 1) / 2 of its input: stride i, and so 0 in
  /// all, for a chain of odd kernels k with padding dilation (k - 1) / 2.
  virtual double offset() const { return 0; }

 protected:
  /// Whether the stages of a class of encoders ask dilation() what to do.
  enum class Dilates : uint8_t { no, yes };

  /// `channels` of all maps that the encoder can make, the image's first.
  /// Throws Error for a depth below 3 or beyond those (all of them may be fewer), and for an output
  /// stride of an encoder that does not dilate.
  Encoder(std::vector<int64_t> channels, const NetworkSpec& spec, Dilates dilates = Dilates::no);

  /// Of a stage whose maps have this stride in the whole encoder: 1, or what its convolutions have
  /// in place of their strides, as dilated() makes them.
  int dilation(int64_t stride) const { return static_cast<int>(stride / dilated_stride(stride)); }
  /// Whether these are all maps that the network takes: the later stages do not run.
  bool is_complete(const std::vector<Variable>& features) const {
    return features.size() == channels_.size();
  }

 private:
  int64_t dilated_stride(int64_t stride) const {
    return output_stride_ == 0 || stride < output_stride_ ? stride : output_stride_;
  }

  std::vector<int64_t> channels_;
  int64_t output_stride_;  // 0: none
};

/// Makes an encoder known by its name; a file-scope constant of the encoder's source holds the
/// result:  const bool kRegistered = register_encoder("resnet18", [](const NetworkSpec& s) {...});
bool register_encoder(std::string_view name,
                      std::function<std::unique_ptr<Encoder>(const NetworkSpec&)> make);

}  // namespace decant::nn
