#include "nn/layers/convolution.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace decant::nn {
namespace {

constexpr int kUpKernel = 4;

Initializer upsampling_init(int64_t out) {
  // PyTorch takes axis 1 of a weight for its inputs; a transposed convolution has its outputs
  // there.
  return torch_default(static_cast<double>(out * kUpKernel * kUpKernel));
}

// Zeros before and after `size` rows.
std::pair<int, int> padding_of(const Conv2dSpec& spec, int64_t size) {
  const int reach = spec.dilation * (spec.kernel - 1);
  if (spec.padding == PaddingRule::centred) return {reach / 2, reach / 2};
  if (spec.padded_for > 0) size = spec.padded_for;
  const int64_t rows = (size + spec.stride - 1) / spec.stride;
  const auto total =
      static_cast<int>(std::max<int64_t>(0, (rows - 1) * spec.stride + reach + 1 - size));
  return {total / 2, total - total / 2};
}

}  // namespace

Initializer he_normal(double fan) {
  return Initializer::normal(std::sqrt(2 / fan));
}
Initializer he_uniform(double fan_in) {
  return Initializer::uniform(std::sqrt(6 / fan_in));
}
Initializer glorot_uniform(double fan_in, double fan_out) {
  return Initializer::uniform(std::sqrt(6 / (fan_in + fan_out)));
}
Initializer torch_default(double fan_in) {
  return Initializer::uniform(1 / std::sqrt(fan_in));
}

Conv2dSpec dilated(Conv2dSpec spec, int dilation) {
  if (dilation == 1) return spec;
  spec.stride = 1;
  spec.dilation = dilation;
  return spec;
}

Conv2dSpec torch_initialized(Conv2dSpec spec) {
  spec.weight_init = torch_default(static_cast<double>(spec.fan_in()));
  spec.bias_init = *spec.weight_init;
  return spec;
}

Conv2dSpec image_conv(Conv2dSpec spec) {
  if (spec.in != 3) spec = torch_initialized(spec);
  return spec;
}

Conv2d::Conv2d(const Conv2dSpec& spec)
    : spec_(spec),
      weight_{
          .shape = {spec.out, spec.kernel, spec.kernel, spec.in / spec.groups},
          .initializer = spec.weight_init.value_or(he_normal(static_cast<double>(spec.fan_out())))},
      bias_{.shape = {spec.out}, .initializer = spec.bias_init} {
  check(spec.in % spec.groups == 0 && spec.out % spec.groups == 0, "Conv2d: ", spec.groups,
        " groups do not divide ", spec.in, " and ", spec.out, " channels");
}

Variable Conv2d::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  check(x.shape().rank() == 4, "Conv2d: expected [N, H, W, C], got ", x.shape());
  const auto [top, bottom] = padding_of(spec_, x.shape()[1]);
  const auto [left, right] = padding_of(spec_, x.shape()[2]);
  return conv2d(x, weight_.variable, spec_.bias ? bias_.variable : Variable{},
                {.stride = spec_.stride,
                 .padding = {top, bottom, left, right},
                 .dilation = spec_.dilation,
                 .groups = spec_.groups});
}

void Conv2d::visit(Visitor& v) {
  v("weight", weight_);
  if (spec_.bias) v("bias", bias_);
}

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out)
    : weight_{.shape = {in, kUpKernel, kUpKernel, out}, .initializer = upsampling_init(out)},
      bias_{.shape = {out}, .initializer = upsampling_init(out)} {}

Variable ConvTranspose2d::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  return conv_transpose2d(x, weight_.variable, bias_.variable, {.stride = 2, .padding = 1});
}

void ConvTranspose2d::visit(Visitor& v) {
  v("weight", weight_);
  v("bias", bias_);
}

}  // namespace decant::nn
