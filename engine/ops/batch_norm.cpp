#include "engine/ops/batch_norm.h"

#include "engine/core/on_device.h"
#include "engine/cpu/source.h"
#include "engine/ops/batch_norm_passes.h"
#include "engine/ops/expect.h"

namespace decant {
namespace {

constexpr InputSet kInputAndResidual = kFirstInput | kFirstInput << 3U;

const OpInfo& kBatchNorm =
    register_op({.name = "batch_norm",
                 .formula = "y = act((x - mean) / sqrt(var + eps) scale + shift + residual)",
                 .source = "Ioffe & Szegedy 2015, algorithm 1",
                 .stored = kInputAndResidual});

void check_operands(const Variable& x, const Variable& scale, const Variable& shift,
                    const Tensor& running_mean, const Tensor& running_var,
                    const BatchNormOptions& options, const Variable& residual) {
  expect_stored(kBatchNorm, x.value());
  check(x.shape().rank() >= 1 && x.value().size() > 0, "batch_norm: expected x [.., C], got x ",
        x.shape());
  const Shape channels = {x.shape()[-1]};
  const auto check_channels = [&](const char* name, const Tensor& t) {
    check(t.shape() == channels, "batch_norm: expected ", name, " ", channels, " for x ", x.shape(),
          ", got ", t.shape());
    check(t.dtype() == parameter_type(x.dtype()), "batch_norm: expected ", name, " of type ",
          parameter_type(x.dtype()), ", got ", t.dtype());
  };
  check_channels("scale", scale.value());
  check_channels("shift", shift.value());
  check_channels("running_mean", running_mean);
  check_channels("running_var", running_var);
  check(!residual.defined() || (residual.shape() == x.shape() && residual.dtype() == x.dtype()),
        "batch_norm: expected a residual as x ", x.shape(), " ", x.dtype(), ", got ",
        residual.shape(), " ", residual.dtype());
  expect_eps(kBatchNorm, options.eps);
  check(options.momentum >= 0 && options.momentum <= 1,
        "batch_norm: expected a momentum in [0, 1], got ", options.momentum);
  check(!options.training || x.value().size() > channels[0],
        "batch_norm: training needs more than one value per channel, got x ", x.shape());
}

// The operands as the backward pass keeps them.
struct Kept {
  Saved x, scale, shift;
  Tensor mean, inverse;
  Saved residual;
  Activation activation;
  bool training;

  BatchNormOperands operands() const {
    return {.x = x.get(),
            .scale = scale.get(),
            .shift = shift.get(),
            .mean = mean,
            .inverse = inverse,
            .residual = residual.defined() ? residual.get() : Tensor{},
            .activation = activation,
            .training = training};
  }
};

Tensor normalized(const BatchNormOperands& n) {
  return ON_DEVICE(n.x, batch_norm_value, n);
}

}  // namespace

std::string_view name_of(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "none";
    case Activation::relu:
      return "relu";
    case Activation::relu6:
      return "relu6";
    case Activation::hard_swish:
      return "hard_swish";
    case Activation::silu:
      return "silu";
  }
  return "unknown";
}

Variable batch_norm(const Variable& x, const Variable& scale, const Variable& shift,
                    Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                    const Variable& residual) {
  check_operands(x, scale, shift, running_mean, running_var, options, residual);

  // The moments that normalise: the batch's own, kept for backward, or copies of the running ones,
  // which a later training step may overwrite.
  Tensor mean;
  Tensor inverse;  // 1 / sqrt(var + eps)
  if (options.training) {
    mean = Tensor(scale.shape(), scale.dtype(), x.value().device());
    inverse = Tensor(scale.shape(), scale.dtype(), x.value().device());
    ON_DEVICE(x.value(), batch_norm_moments, x.value(), options, mean, inverse, running_mean,
              running_var);
  } else {
    mean = running_mean.clone();
    inverse = Tensor(scale.shape(), scale.dtype(), x.value().device());
    ON_DEVICE(x.value(), batch_norm_inverse, running_var, options.eps, inverse);
  }
  const Tensor value = normalized({.x = x.value(),
                                   .scale = scale.value(),
                                   .shift = shift.value(),
                                   .mean = mean,
                                   .inverse = inverse,
                                   .residual = residual.value(),
                                   .activation = options.activation,
                                   .training = options.training});

  // dz = dy act'(z), recomputed from x (and the residual, where z depends on it).
  // Of the batch's moments: dx = gain (dz - mean(dz) - xhat mean(dz xhat)).
  const bool needs_residual = options.activation != Activation::none;
  const Kept kept = {.x = Saved(x),
                     .scale = Saved(scale),
                     .shift = Saved(shift),
                     .mean = mean,
                     .inverse = inverse,
                     .residual = needs_residual ? Saved(residual) : Saved(),
                     .activation = options.activation,
                     .training = options.training};
  const Variable y =
      record(kBatchNorm, options, value, {x, scale, shift, residual},
             [kept](const Tensor& dy, const Wanted& wanted) {
               const auto like_dy = [&] { return Tensor(dy.shape(), dy.dtype(), dy.device()); };
               const auto like_mean = [&](size_t input) {
                 return wanted.place(input, kept.mean.shape(), kept.mean.dtype(), dy.device());
               };
               BatchNormGradients d;
               d.wants_x = wanted[0];
               if (wanted[1]) d.scale = like_mean(1);
               if (wanted[2]) d.shift = like_mean(2);
               const bool acts = kept.activation != Activation::none;
               if (wanted[3] && acts) d.residual = like_dy();
               ON_DEVICE(dy, batch_norm_backward, kept.operands(), dy, d);
               if (wanted[3] && !acts) d.residual = dy;
               return std::vector<Tensor>{d.x, d.scale, d.shift, d.residual};
             });
  if (Trace* trace = Trace::active()) trace->add_buffers({running_mean, running_var});
  // One pass over x, which is kept anyway, makes y again. A residual would have to be made first,
  // from the one before it, and so to the beginning of the network; so would the end of a long
  // chain of recipes, and of promises, which is cut here; and a card's memory is slower to read
  // than to own.
  if (!y.requires_grad() || residual.defined() || value.device() != Device::cpu ||
      value.promise_depth() > cpu::kMaxPromiseDepth)
    return y;
  return y.with_recipe([kept] { return normalized(kept.operands()); });
}

}  // namespace decant
