#include "nn/network.h"

#include "engine/core/precision.h"
#include "engine/ops/cast.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"

namespace decant::nn {
namespace {

Conv2dSpec head_spec(const Decoder::Head& head, int64_t classes) {
  Conv2dSpec spec{.in = head.in_channels, .out = classes, .kernel = head.kernel, .bias = true};
  if (head.torch_initialized) return torch_initialized(spec);
  spec.weight_init =
      glorot_uniform(static_cast<double>(spec.fan_in()), static_cast<double>(spec.fan_out()));
  return spec;
}

/// The type that a network's activations are stored in.
DType stored_type(const Variable& x) {
  const bool narrow = precision() == Precision::bf16 && x.value().device() == Device::cuda;
  return narrow ? DType::bf16 : x.dtype();
}

/// Without a step in the trace where there is nothing to do.
Variable as(const Variable& x, DType dtype) {
  return x.dtype() == dtype ? x : cast(x, dtype);
}

int64_t rounded_up(int64_t size, int64_t stride) {
  return (size + stride - 1) / stride * stride;
}

}  // namespace

Variable padded_to(const Variable& x, int64_t stride) {
  const int64_t bottom = rounded_up(x.shape()[1], stride) - x.shape()[1];
  const int64_t right = rounded_up(x.shape()[2], stride) - x.shape()[2];
  return bottom == 0 && right == 0 ? x : pad2d(x, 0, bottom, 0, right);
}

Variable cropped_to(const Variable& x, int64_t height, int64_t width) {
  const Variable rows = x.shape()[1] == height ? x : slice(x, 1, 0, height);
  return rows.shape()[2] == width ? rows : slice(rows, 2, 0, width);
}

Network::Network(const NetworkSpec& spec)
    : spec_(resolved(spec)),
      encoder_(make_encoder(spec_)),
      decoder_(make_decoder(spec_, encoder_->channels())),
      head_(head_spec(decoder_->head(), spec_.classes)) {}

Output Network::forward(const Variable& x, const Pass& pass) {
  check(x.shape().rank() == 4 && x.shape()[3] == spec_.in_channels, spec_.name(),
        ": expected images [N, H, W, ", spec_.in_channels, "], got ", x.shape());
  const Trace::Scope scope(name());
  const int64_t height = x.shape()[1];
  const int64_t width = x.shape()[2];
  const Variable images = padded_to(as(x, stored_type(x)), stride());
  const std::vector<Variable> features = encoder_->forward(images, pass);
  Variable logits = as(head_.forward(decoder_->forward(features, pass)), x.dtype());
  const Decoder::Head& head = decoder_->head();
  if (head.upsampling > 1)
    logits = resize(logits, images.shape()[1], images.shape()[2],
                    {.mode = Interpolation::bilinear, .align_corners = head.align_corners});
  return {.logits = cropped_to(logits, height, width),
          .hidden = as(features.back(), x.dtype()),
          .hidden_stride = hidden_stride(),
          .hidden_offset = hidden_offset()};
}

void Network::visit(Visitor& v) {
  v("encoder", *encoder_);
  v("decoder", *decoder_);
  v("segmentation_head.0", head_);
}

std::unique_ptr<Network> make_network(const NetworkSpec& spec, uint64_t seed, DType dtype,
                                      std::string_view prefix) {
  auto network = std::make_unique<Network>(spec);
  initialize(*network, seed, dtype, prefix);
  return network;
}

}  // namespace decant::nn
