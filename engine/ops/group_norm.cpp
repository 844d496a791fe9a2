#include "engine/ops/group_norm.h"

#include "engine/core/on_device.h"
#include "engine/ops/expect.h"
#include "engine/ops/group_norm_kernels.h"

namespace decant {
namespace {

const OpInfo& kGroupNorm =
    register_op({.name = "group_norm",
                 .formula = "y = (x - mean) / sqrt(var + eps) scale + shift, per image and group",
                 .source = "Wu & He 2018, eq. 1",
                 .stored = kFirstInput});

void check_operands(const Variable& x, const Variable& scale, const Variable& shift,
                    const GroupNormOptions& options) {
  expect_image(kGroupNorm, x.value());
  const int64_t channels = x.shape()[3];
  const int64_t groups = options.groups;
  check(groups >= 1 && channels > 0 && channels % groups == 0,
        "group_norm: expected a number of groups that divides the channels of x ", x.shape(),
        ", got ", groups);
  check(x.shape()[1] * x.shape()[2] * (channels / groups) > 1,
        "group_norm: expected more than one value per image and group, got x ", x.shape(), " in ",
        groups, " groups");
  const auto check_channels = [&](const char* name, const Variable& v) {
    if (!v.defined()) return;
    check(v.shape() == Shape{channels}, "group_norm: expected ", name, " ", Shape{channels},
          " for x ", x.shape(), ", got ", v.shape());
    check(v.dtype() == parameter_type(x.dtype()), "group_norm: expected ", name, " of type ",
          parameter_type(x.dtype()), ", got ", v.dtype());
  };
  check_channels("scale", scale);
  check_channels("shift", shift);
  expect_eps(kGroupNorm, options.eps);
}

// The operands as the backward pass keeps them; the shift has no part in it.
struct Kept {
  Saved x, scale, shift;
  Tensor mean, inverse;

  GroupNormOperands operands() const {
    return {
        .x = x.get(), .scale = scale.get(), .shift = shift.get(), .mean = mean, .inverse = inverse};
  }
};

}  // namespace

Variable group_norm(const Variable& x, const Variable& scale, const Variable& shift,
                    const GroupNormOptions& options) {
  check_operands(x, scale, shift, options);
  const Device device = x.value().device();
  const DType type = parameter_type(x.dtype());
  const Shape channels = {x.shape()[3]};
  const Shape groups = {x.shape()[0], options.groups};
  const auto or_full = [&](const Variable& v, double value) {
    return v.defined() ? v.value() : Tensor::full(channels, value, type, device);
  };
  GroupNormOperands n = {.x = x.value(),
                         .scale = or_full(scale, 1),
                         .shift = or_full(shift, 0),
                         .mean = Tensor(groups, type, device),
                         .inverse = Tensor(groups, type, device)};
  ON_DEVICE(n.x, group_norm_moments, n, options.eps);
  Tensor y(n.x.shape(), n.x.dtype(), device);
  ON_DEVICE(n.x, group_norm_forward, n, y);

  const Kept kept = {.x = Saved(x),
                     .scale = Saved(n.scale),
                     .shift = Saved(n.shift),
                     .mean = n.mean,
                     .inverse = n.inverse};
  return record(kGroupNorm, options, y, {x, scale, shift},
                [kept, channels, type](const Tensor& dy, const Wanted& wanted) {
                  GroupNormGradients d;
                  if (wanted[0]) d.x = Tensor(dy.shape(), dy.dtype(), dy.device());
                  if (wanted[1]) d.scale = wanted.place(1, channels, type, dy.device());
                  if (wanted[2]) d.shift = wanted.place(2, channels, type, dy.device());
                  ON_DEVICE(dy, group_norm_backward, kept.operands(), dy, d);
                  return std::vector<Tensor>{d.x, d.scale, d.shift};
                });
}

}  // namespace decant
