#include "nn/decoders/aspp.h"

#include "engine/ops/pool.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "nn/layers/dropout.h"

namespace decant::nn {
namespace {

Conv2dSpec conv(int64_t in, int64_t out, int kernel, int dilation = 1, int64_t groups = 1) {
  return torch_initialized({.in = in,
                            .out = out,
                            .kernel = kernel,
                            .dilation = dilation,
                            .groups = static_cast<int>(groups)});
}

}  // namespace

SplitConv::SplitConv(int64_t in, int64_t out, int dilation)
    : depthwise_(conv(in, in, 3, dilation, in)), pointwise_(conv(in, out, 1)) {}

Variable SplitConv::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  return pointwise_.forward(depthwise_.forward(x));
}

void SplitConv::visit(Visitor& v) {
  v("0", depthwise_);
  v("1", pointwise_);
}

AtrousConv::AtrousConv(int64_t in, int64_t out, int dilation, bool separable)
    : split_(separable ? std::make_unique<SplitConv>(in, out, dilation) : nullptr),
      whole_(separable ? nullptr : std::make_unique<Conv2d>(conv(in, out, 3, dilation))),
      norm_(out, Activation::relu) {}

Variable AtrousConv::forward(const Variable& x, const Pass& pass) {
  const Trace::Scope scope(name());
  return norm_.forward(split_ ? split_->forward(x) : whole_->forward(x), pass);
}

void AtrousConv::visit(Visitor& v) {
  if (split_)
    v("0", *split_);
  else
    v("0", *whole_);
  v("1", norm_);
}

Aspp::Aspp(int64_t in, const NetworkSpec& spec)
    : decoder_(spec.decoder),
      dropout_(*spec.options.dropout),
      first_(conv(in, spec.options.channels->at(0), 1)),
      mean_(conv(in, spec.options.channels->at(0), 1)),
      mean_norm_(spec.options.channels->at(0), Activation::relu),
      project_(conv(5 * spec.options.channels->at(0), spec.options.channels->at(0), 1)) {
  for (const int64_t rate : *spec.options.rates)
    convs_.push_back(std::make_unique<AtrousConv>(in, spec.options.channels->at(0),
                                                  static_cast<int>(rate), *spec.options.separable));
}

Variable Aspp::forward(const Variable& x, const Pass& pass) {
  const Trace::Scope scope(name());
  const Shape& s = x.shape();
  check(s[0] > 1 || !(pass.training || pass.batch_statistics), decoder_,
        ": expected at least 2 images in a batch to train on, got 1: the branch of the image's "
        "mean has one value per image and channel, which batch norm cannot normalise by itself");
  std::vector<Variable> maps = {first_.forward(x, pass)};
  for (const auto& atrous : convs_) maps.push_back(atrous->forward(x, pass));
  const Variable mean = mean_norm_.forward(mean_.forward(adaptive_avg_pool2d(x, 1, 1)), pass);
  maps.push_back(resize(mean, s[1], s[2], {.mode = Interpolation::bilinear}));
  const Variable y = project_.forward(concat(maps, 3), pass);
  return drop(*this, pass, y, dropout_, DropoutOf::elements);
}

void Aspp::visit(Visitor& v) {
  v("convs.0", first_);
  for (size_t i = 0; i < convs_.size(); ++i) v(str("convs.", i + 1), *convs_[i]);
  v("convs.4.1", mean_);
  v("convs.4.2", mean_norm_);
  v("project", project_);
}

DecoderOptions aspp_options(bool separable, int64_t output_stride) {
  return {.channels = {{256}},
          .output_stride = output_stride,
          .rates = {{12, 24, 36}},
          .separable = separable,
          .dropout = 0.5};
}

}  // namespace decant::nn
