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

}  // namespace decant::nn
