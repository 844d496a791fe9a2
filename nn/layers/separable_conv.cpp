#include "nn/layers/separable_conv.h"

namespace decant::nn {

SeparableConv::SeparableConv(int64_t in, int64_t out, int stride)
    : depthwise_({.in = in,
                  .out = in,
                  .stride = stride,
                  .groups = static_cast<int>(in),
                  .weight_init = he_normal(9)}),
      pointwise_({.in = in, .out = out, .kernel = 1}) {}

Variable SeparableConv::forward(const Variable& x, const Pass& pass) {
  const Trace::Scope scope(name());
  return pointwise_.forward(depthwise_.forward(x, pass), pass);
}

void SeparableConv::visit(Visitor& v) {
  v("dw", depthwise_);
  v("pw", pointwise_);
}

}  // namespace decant::nn
