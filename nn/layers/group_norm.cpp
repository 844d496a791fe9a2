#include "nn/layers/group_norm.h"

namespace decant::nn {

GroupNorm::GroupNorm(int64_t channels, int64_t groups)
    : groups_(groups),
      weight_{.shape = {channels}, .initializer = Initializer::constant(1)},
      bias_{.shape = {channels}, .initializer = Initializer::constant(0)} {}

Variable GroupNorm::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  return group_norm(x, weight_.variable, bias_.variable, {.groups = groups_});
}

void GroupNorm::visit(Visitor& v) {
  v("weight", weight_);
  v("bias", bias_);
}

}  // namespace decant::nn
