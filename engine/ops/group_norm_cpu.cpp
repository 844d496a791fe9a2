#include <cmath>

#include "engine/cpu/moments.h"
#include "engine/ops/batch_norm_passes.h"
#include "engine/ops/batch_norm_reference.h"
#include "engine/ops/group_norm_kernels.h"

// An image's group norm is batch norm of its pixels with moments that neighbouring channels share:
// the passes over pixels are batch norm's own.

namespace decant::cpu {
namespace {

using Doubles = std::vector<double>;

Tensor image_of(const Tensor& t, int64_t image) {
  const int64_t size = t.size() / t.shape()[0];
  return t.view(image * size, {size / t.shape()[3], t.shape()[3]});
}

// An image as batch norm has it: what its groups have, written out for every channel.
template <class T>
BatchNormOperands operands_of(const GroupNormOperands& n, int64_t image) {
  const auto per_channel = [&](const Tensor& groups) {
    Tensor channels(n.scale.shape(), groups.dtype());
    const T* from = groups.data<T>() + image * n.groups();
    T* to = channels.mutable_data<T>();
    for (int64_t c = 0; c < n.channels(); ++c) to[c] = from[c / n.width()];
    return channels;
  };
  return {.x = image_of(n.x, image),
          .scale = n.scale,
          .shift = n.shift,
          .mean = per_channel(n.mean),
          .inverse = per_channel(n.inverse),
          .residual = {},
          .activation = Activation::none,
          .training = true};
}

// var = the channels' mean variance + the variance of their means
template <class T>
void moments_of_image(GroupNormOperands& n, int64_t image, double eps) {
  const auto channels = static_cast<size_t>(n.channels());
  const auto width = static_cast<size_t>(n.width());
  Doubles mean(channels);
  Doubles variance(channels);
  const T* x = n.x.data<T>() + image * n.pixels() * n.channels();
  if constexpr (std::is_same_v<T, float>)
    channel_moments(x, n.pixels(), n.channels(), mean.data(), variance.data());
  else
    reference::channel_moments(x, n.pixels(), n.channels(), mean.data(), variance.data());
  T* means = n.mean.mutable_data<T>() + image * n.groups();
  T* inverses = n.inverse.mutable_data<T>() + image * n.groups();
  const auto count = static_cast<double>(width);
  for (size_t begin = 0; begin < channels; begin += width) {
    double sum = 0;
    for (size_t c = begin; c < begin + width; ++c) sum += mean[c];
    const double middle = sum / count;
    double squares = 0;
    for (size_t c = begin; c < begin + width; ++c)
      squares += variance[c] + (mean[c] - middle) * (mean[c] - middle);
    *means++ = static_cast<T>(middle);
    *inverses++ = static_cast<T>(1 / std::sqrt(squares / count + eps));
  }
}

// With g = dy scale and sums over a group of M values:
//   dx = inverse (g - sum(g) / M - (x - mean) inverse^2 sum(g (x - mean)) / M)
template <class T>
void backward(const GroupNormOperands& n, const Tensor& dy, GroupNormGradients& d) {
  const auto channels = static_cast<size_t>(n.channels());
  const auto width = static_cast<size_t>(n.width());
  const auto count = static_cast<double>(n.pixels() * n.width());
  Doubles dscale(channels);
  Doubles dshift(channels);
  Tensor slope(n.scale.shape(), n.scale.dtype());
  Tensor offset(n.scale.shape(), n.scale.dtype());
  for (int64_t image = 0; image < n.images(); ++image) {
    const BatchNormOperands of_image = operands_of<T>(n, image);
    const Tensor dy_of_image = image_of(dy, image);
    Doubles sum_dy(channels);
    Doubles sum_dy_x(channels);
    batch_norm_sums(of_image, dy_of_image, sum_dy, sum_dy_x);
    const T* scale = n.scale.data<T>();
    const T* inverse = of_image.inverse.data<T>();
    T* slopes = slope.mutable_data<T>();
    T* offsets = offset.mutable_data<T>();
    for (size_t begin = 0; begin < channels; begin += width) {
      const auto r = static_cast<double>(inverse[begin]);
      double sum_g = 0;
      double sum_g_x = 0;
      for (size_t c = begin; c < begin + width; ++c) {
        dscale[c] += sum_dy_x[c] * r;
        dshift[c] += sum_dy[c];
        sum_g += sum_dy[c] * static_cast<double>(scale[c]);
        sum_g_x += sum_dy_x[c] * static_cast<double>(scale[c]);
      }
      std::fill_n(slopes + begin, width, static_cast<T>(-r * r * r * sum_g_x / count));
      std::fill_n(offsets + begin, width, static_cast<T>(-r * sum_g / count));
    }
    if (!d.x.defined()) continue;
    Tensor dx = image_of(d.x, image);
    batch_norm_input_gradient(of_image, dy_of_image, slope, offset, dx);
  }
  const auto write = [&](const Doubles& from, Tensor& to) {
    if (!to.defined()) return;
    T* values = to.mutable_data<T>();
    for (const double value : from) *values++ = static_cast<T>(value);
  };
  write(dscale, d.scale);
  write(dshift, d.shift);
}

}  // namespace

void group_norm_moments(GroupNormOperands& n, double eps) {
  with_real_type(n.x.dtype(), [&]<class T>() {
    for (int64_t image = 0; image < n.images(); ++image) moments_of_image<T>(n, image, eps);
  });
}

void group_norm_forward(const GroupNormOperands& n, Tensor& y) {
  with_real_type(n.x.dtype(), [&]<class T>() {
    for (int64_t image = 0; image < n.images(); ++image) {
      Tensor of_image = image_of(y, image);
      batch_norm_forward(operands_of<T>(n, image), of_image);
    }
  });
}

void group_norm_backward(const GroupNormOperands& n, const Tensor& dy, GroupNormGradients& d) {
  with_real_type(n.x.dtype(), [&]<class T>() { backward<T>(n, dy, d); });
}

}  // namespace decant::cpu
