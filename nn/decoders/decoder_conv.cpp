#include "nn/decoders/decoder_conv.h"

#include "engine/ops/pointwise.h"

namespace decant::nn {

DecoderNorm::DecoderNorm(int64_t channels, std::string_view norm) {
  if (norm == "batchnorm") batch_norm_ = std::make_unique<BatchNorm2d>(channels, Activation::relu);
  if (norm == "instancenorm") instance_norm_ = std::make_unique<GroupNorm>(channels, channels);
}

Variable DecoderNorm::forward(const Variable& x, const Pass& pass) {
  const Trace::Scope scope(name());
  if (batch_norm_) return batch_norm_->forward(x, pass);
  return relu(instance_norm_ ? instance_norm_->forward(x) : x);
}

void DecoderNorm::visit(Visitor& v) {
  if (batch_norm_) batch_norm_->visit(v);
  if (instance_norm_) instance_norm_->visit(v);
}

DecoderConv::DecoderConv(int64_t in, int64_t out, int kernel, std::string_view norm)
    : conv_(decoder_conv(in, out, kernel, norm == "identity")), norm_(out, norm) {}

Variable DecoderConv::forward(const Variable& x, const Pass& pass) {
  const Trace::Scope scope(name());
  return norm_.forward(conv_.forward(x), pass);
}

void DecoderConv::visit(Visitor& v) {
  v("0", conv_);
  v("1", norm_);
}

Conv2dSpec decoder_conv(int64_t in, int64_t out, int kernel, bool bias) {
  Conv2dSpec spec{.in = in, .out = out, .kernel = kernel, .bias = bias};
  spec.weight_init = he_uniform(static_cast<double>(spec.fan_in()));
  return spec;
}

}  // namespace decant::nn
