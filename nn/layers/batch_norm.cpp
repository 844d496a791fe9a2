#include "nn/layers/batch_norm.h"

namespace decant::nn {

BatchNorm2d::BatchNorm2d(int64_t channels, Activation activation, double eps, double momentum)
    : activation_(activation),
      eps_(eps),
      momentum_(momentum),
      weight_{.shape = {channels}, .initializer = Initializer::constant(1)},
      bias_{.shape = {channels}, .initializer = Initializer::constant(0)},
      running_mean_{.shape = {channels}, .initial = 0},
      running_var_{.shape = {channels}, .initial = 1},
      num_batches_tracked_{.shape = {}, .initial = 0, .counter = true} {}

Variable BatchNorm2d::forward(const Variable& x, const Pass& pass, const Variable& residual) {
  const Trace::Scope scope(name());
  const BatchNormOptions options{.training = pass.training || pass.batch_statistics,
                                 .momentum = momentum_,
                                 .eps = eps_,
                                 .activation = activation_};
  if (pass.batch_statistics && !pass.training) {
    // The op always keeps book in training: let it do so on copies.
    Tensor mean = running_mean_.tensor.clone();
    Tensor var = running_var_.tensor.clone();
    return batch_norm(x, weight_.variable, bias_.variable, mean, var, options, residual);
  }
  if (pass.training) ++*num_batches_tracked_.tensor.mutable_data<int64_t>();
  return batch_norm(x, weight_.variable, bias_.variable, running_mean_.tensor, running_var_.tensor,
                    options, residual);
}

void BatchNorm2d::visit(Visitor& v) {
  v("weight", weight_);
  v("bias", bias_);
  v("running_mean", running_mean_);
  v("running_var", running_var_);
  v("num_batches_tracked", num_batches_tracked_);
}

}  // namespace decant::nn
