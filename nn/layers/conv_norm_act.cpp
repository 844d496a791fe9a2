#include "nn/layers/conv_norm_act.h"

namespace decant::nn {

ConvNormAct::ConvNormAct(const Conv2dSpec& spec, Activation activation)
    : conv_(spec), norm_(spec.out, activation) {}

Variable ConvNormAct::forward(const Variable& x, const Pass& pass, const Variable& residual) {
  const Trace::Scope scope(name());
  return norm_.forward(conv_.forward(x), pass, residual);
}

void ConvNormAct::visit(Visitor& v) {
  v("0", conv_);
  v("1", norm_);
}

Conv2dSpec decoder_conv(int64_t in, int64_t out, int kernel) {
  Conv2dSpec spec{.in = in, .out = out, .kernel = kernel};
  spec.weight_init = he_uniform(static_cast<double>(spec.fan_in()));
  return spec;
}

}  // namespace decant::nn
