#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "nn/decoders/decoder.h"
#include "nn/encoders/encoder.h"
#include "nn/layers/convolution.h"
#include "nn/module.h"
#include "nn/network_spec.h"
#include "nn/registry.h"

namespace decant::nn {

/// What a network says about a batch of images.
struct Output {
  Variable logits;  ///< [N, H, W, classes], at the input's size
  Variable hidden;  ///< [N, h, w, C], the encoder's last map (of the padded input)
  /// Cell (i, j) of `hidden` is centred on the input's pixel (stride i + offset, stride j +
  /// offset).
  double hidden_stride = 1;
  double hidden_offset = 0;
};

/// An encoder, a decoder and a convolution that makes logits. Parameter names are those of
/// segmentation_models.pytorch (SMP): "encoder.*", "decoder.*", "segmentation_head.0.*".
///
/// Any input size: the image is padded with zeros at the bottom and the right to multiples of
/// stride(), and the logits are cropped back. (After normalisation zero is the mean colour.) At
/// such multiples the results are SMP's; at others they are not: SMP's Unet resizes its maps
/// instead, and its other networks refuse.
///
/// On cuda at precision bf16 all that lies between the images and the logits is stored as bfloat16:
/// half the memory, and half the bytes that most of a step consists of. Parameters stay float32,
/// and so do the images given and the maps handed out.
class Network : public Module {
 public:
  /// Throws Error as resolved() does. The parameters have no memory yet: see make_network.
  explicit Network(const NetworkSpec& spec);

  /// x [N, H, W, in_channels]. Throws Error naming both where the channels do not agree.
  Output forward(const Variable& x, const Pass& pass = {});

  void visit(Visitor& v) override;

  const NetworkSpec& spec() const { return spec_; }
  /// What the sides of an input must divide by to be taken without padding.
  int64_t stride() const { return encoder_->stride(); }
  int64_t hidden_channels() const { return encoder_->channels().back(); }
  double hidden_stride() const { return static_cast<double>(encoder_->stride()); }
  double hidden_offset() const { return encoder_->offset(); }
  DType dtype() const { return head_.dtype(); }
  Device device() const { return head_.device(); }
  Encoder& encoder() { return *encoder_; }

 private:
  NetworkSpec spec_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
  Conv2d head_;
};

/// Images [N, H, W, C] with zeros at the bottom and the right, up to multiples of `stride`.
Variable padded_to(const Variable& x, int64_t stride);
/// The upper left part of maps [N, H, W, C]: the inverse.
Variable cropped_to(const Variable& x, int64_t height, int64_t width);

/// A network with fresh parameters. `prefix` keeps two networks of one seed apart ("teacher").
/// Throws Error where the spec names what is not there.
std::unique_ptr<Network> make_network(const NetworkSpec& spec, uint64_t seed = 0,
                                      DType dtype = DType::f32, std::string_view prefix = "");

}  // namespace decant::nn
