#include "nn/layers/squeeze_excite.h"

#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"

namespace decant::nn {

SqueezeExcite::SqueezeExcite(int64_t channels, int64_t reduced)
    : reduce_({.in = channels, .out = reduced, .kernel = 1, .bias = true}),
      expand_({.in = reduced, .out = channels, .kernel = 1, .bias = true}) {}

Variable SqueezeExcite::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  const Variable mean = adaptive_avg_pool2d(x, 1, 1);
  return mul(x, hard_sigmoid(expand_.forward(relu(reduce_.forward(mean)))));
}

void SqueezeExcite::visit(Visitor& v) {
  v("conv_reduce", reduce_);
  v("conv_expand", expand_);
}

}  // namespace decant::nn
