#include "nn/decoders/unet_block.h"

#include "engine/ops/resize.h"

namespace decant::nn {

UnetBlock::UnetBlock(int64_t in, int64_t skip, int64_t out, const DecoderOptions& options)
    : conv1_(in + skip, out, 3, *options.norm), conv2_(out, out, 3, *options.norm) {
  if (options.attention.value_or("none") == "none") return;
  attention1_ = std::make_unique<Scse>(in + skip);
  attention2_ = std::make_unique<Scse>(out);
}

Variable UnetBlock::forward(const Variable& x, const Variable& skip, const Pass& pass) {
  const Trace::Scope scope(name());
  Variable y = upsample_concat(x, skip);
  if (attention1_ && skip.defined()) y = attention1_->forward(y);
  y = conv2_.forward(conv1_.forward(y, pass), pass);
  return attention2_ ? attention2_->forward(y) : y;
}

void UnetBlock::visit(Visitor& v) {
  v("conv1", conv1_);
  if (attention1_) v("attention1", *attention1_);
  v("conv2", conv2_);
  if (attention2_) v("attention2", *attention2_);
}

CentreBlock::CentreBlock(int64_t channels, std::string_view norm)
    : conv1_(channels, channels, 3, norm), conv2_(channels, channels, 3, norm) {}

Variable CentreBlock::forward(const Variable& x, const Pass& pass) {
  const Trace::Scope scope(name());
  return conv2_.forward(conv1_.forward(x, pass), pass);
}

void CentreBlock::visit(Visitor& v) {
  v("0", conv1_);
  v("1", conv2_);
}

std::unique_ptr<CentreBlock> centre_of(const NetworkSpec& spec, int64_t channels) {
  if (!spec.encoder.starts_with("vgg")) return nullptr;
  return std::make_unique<CentreBlock>(channels, *spec.options.norm);
}

DecoderOptions level_options(int64_t depth) {
  std::vector<int64_t> channels;
  for (int64_t level = depth; level-- > 0;) channels.push_back(int64_t{16} << level);
  return {.channels = channels, .norm = "batchnorm"};
}

DecoderOptions unet_options(int64_t depth) {
  DecoderOptions options = level_options(depth);
  options.attention = "none";
  return options;
}

}  // namespace decant::nn
