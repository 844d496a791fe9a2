#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/cpu/moments.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/source.h"
#include "engine/ops/batch_norm_passes.h"
#include "engine/ops/batch_norm_reference.h"

// float32 runs the SIMD kernels tile by tile of pixels, float64 the reference. Each pass reads its
// operands once. Channels that do not fill whole vectors are taken together with those of the
// pixels that follow (pixels_together), the constants repeated as often.

namespace decant::cpu {
namespace {

using Doubles = std::vector<double>;

int64_t channels_of(const Tensor& x) {
  return x.shape()[-1];
}
int64_t pixels_of(const Tensor& x) {
  return x.size() / channels_of(x);
}

template <class T>
Tensor gain_of(const BatchNormOperands& n) {
  Tensor gain(n.scale.shape(), n.scale.dtype());
  const T* scale = n.scale.data<T>();
  const T* inverse = n.inverse.data<T>();
  for (T& g : gain.mutable_values<T>()) g = *scale++ * *inverse++;
  return gain;
}

// A copy of values per channel, repeated for pixels that are taken together; null of an undefined
// tensor.
class Repeated {
 public:
  Repeated(const Tensor& values, int64_t times) {
    if (!values.defined()) return;
    values_ = Tensor({times * values.size()});
    auto* to = values_.mutable_data<float>();
    for (int64_t i = 0; i < times; ++i) to = std::copy_n(values.data<float>(), values.size(), to);
  }
  const float* data() const { return data_or_null<float>(values_); }

 private:
  Tensor values_;
};

// What a pass over gradients has besides: slope and offset only where it makes those of x.
struct PassGradients {
  Tensor dy, slope, offset;
};

// A pass over float32: what is the same for all tiles. Its operands are in memory, or made tile by
// tile.
class Pass {
 public:
  Pass(const BatchNormOperands& n, const Tensor& gain, const PassGradients& d = {})
      : channels_(channels_of(n.x)),
        pixels_(pixels_of(n.x)),
        together_(pixels_together(pixels_, channels_)),
        mean_(n.mean, together_),
        gain_(gain, together_),
        shift_(n.shift, together_),
        slope_(d.slope, together_),
        offset_(d.offset, together_),
        x_(n.x),
        activation_(kind_of(n.activation)) {
    if (n.residual.defined()) residual_.emplace(n.residual, false);
    if (d.dy.defined()) dy_.emplace(d.dy);
  }

  /// Pixels that fill whole vectors together, as one of so many times the channels.
  int64_t together() const { return together_; }

  /// kernel(args, p) for pixels [begin, end), those that fill whole vectors together first; p is
  /// the first of args, whose pointers to results are null.
  template <class F>
  void on_pixels(int64_t begin, int64_t end, const F& kernel) const {
    const int64_t count = end - begin;
    const auto made_size = [&](const Source& s) {
      return s.data() == nullptr ? count * channels_ : 0;
    };
    const Source x = x_.get();
    Scratch x_made(made_size(x));
    const Source dy = dy_ ? dy_->get() : x;
    Scratch dy_made(dy_ ? made_size(dy) : 0);
    NormArgs args{};
    args.activation = activation_;
    args.x = x.pixels(begin, end, channels_, x_made.data());
    if (residual_) args.residual = residual_->get().data() + begin * channels_;
    if (dy_) args.dy = dy.pixels(begin, end, channels_, dy_made.data());
    args.mean = mean_.data();
    args.gain = gain_.data();
    args.shift = shift_.data();
    args.slope = slope_.data();
    args.offset = offset_.data();
    args.pixels = count / together_;
    args.channels = channels_ * together_;
    if (args.pixels > 0) kernel(args, begin);
    const int64_t done = args.pixels * args.channels;
    args.pixels = count % together_;
    args.channels = channels_;
    if (args.pixels == 0) return;
    args.x += done;
    if (args.residual != nullptr) args.residual += done;
    if (args.dy != nullptr) args.dy += done;
    kernel(args, end - args.pixels);
  }

  int64_t tile() const { return together_ * pixels_per_tile(channels_ * together_); }
  int64_t tiles() const { return ceil_div(pixels_, tile()); }
  /// on_pixels tile by tile; kernel(args, first pixel).
  template <class F>
  void on_tiles(const F& kernel) const {
    parallel_ranges(pixels_, tile(),
                    [&](int64_t begin, int64_t end) { on_pixels(begin, end, kernel); });
  }

 private:
  int64_t channels_, pixels_, together_;
  Repeated mean_, gain_, shift_, slope_, offset_;
  TensorSource x_;
  std::optional<TensorSource> residual_, dy_;
  PointwiseKind activation_;
};

reference::BatchNorm<double> reference_of(const BatchNormOperands& n, const Tensor& gain) {
  return {.pixels = pixels_of(n.x),
          .channels = channels_of(n.x),
          .activation = n.activation,
          .x = n.x.data<double>(),
          .mean = n.mean.data<double>(),
          .gain = gain.data<double>(),
          .shift = n.shift.data<double>(),
          .residual = data_or_null<double>(n.residual)};
}

// Sums of dz and dz (x - mean) per channel; dz itself is written where it is defined.
void sums(const BatchNormOperands& n, const Tensor& gain, const Tensor& dy, Tensor& dz,
          Doubles& sum_dz, Doubles& sum_dz_x) {
  if (n.x.dtype() == DType::f64) {
    reference::normalize_sums(reference_of(n, gain), dy.data<double>(),
                              mutable_data_or_null<double>(dz), sum_dz.data(), sum_dz_x.data());
    return;
  }
  const Pass pass(n, gain, {.dy = dy, .slope = {}, .offset = {}});
  float* const to_dz = mutable_data_or_null<float>(dz);
  const int64_t channels = channels_of(n.x);
  const int64_t c = channels * pass.together();
  const int64_t tiles = pass.tiles();
  Scratch partial(2 * tiles * c);
  pass.on_tiles([&](NormArgs& args, int64_t first) {
    if (to_dz != nullptr) args.dz = to_dz + first * channels;
    args.sum_dz = partial.data() + 2 * c * (first / pass.tile());
    args.sum_dz_x = args.sum_dz + c;
    kernels().normalize_sums(args);
  });
  for (int64_t t = 0; t < tiles; ++t) {
    const float* sum = partial.data() + 2 * t * c;
    for (int64_t i = 0; i < c; ++i) {
      const auto channel = static_cast<size_t>(i) % sum_dz.size();
      sum_dz[channel] += sum[i];
      sum_dz_x[channel] += sum[c + i];
    }
  }
}

// y = act((x - mean) gain + shift + residual), of pixels that are asked for.
RowMaker normalized_rows(const BatchNormOperands& n) {
  const auto pass = std::make_shared<const Pass>(n, gain_of<float>(n));
  return [pass, channels = channels_of(n.x)](int64_t begin, int64_t end, float* y) {
    pass->on_pixels(begin, end, [&](NormArgs& args, int64_t first) {
      args.y = y + (first - begin) * channels;
      kernels().normalize(args);
    });
  };
}

// dx = dz gain + (x - mean) slope + offset, of pixels that are asked for.
RowMaker input_gradient_rows(const BatchNormOperands& n, const Tensor& gain,
                             const PassGradients& d) {
  const auto pass = std::make_shared<const Pass>(n, gain, d);
  return [pass, channels = channels_of(n.x)](int64_t begin, int64_t end, float* dx) {
    pass->on_pixels(begin, end, [&](NormArgs& args, int64_t first) {
      args.dx = dx + (first - begin) * channels;
      kernels().normalize_gradient(args);
    });
  };
}

template <class T>
void backward(const BatchNormOperands& n, const Tensor& dy, BatchNormGradients& d) {
  const Tensor gain = gain_of<T>(n);
  const auto channels = static_cast<size_t>(channels_of(n.x));
  const auto pixels = static_cast<double>(pixels_of(n.x));
  Doubles sum_dz(channels);
  Doubles sum_dz_x(channels);
  const bool needs_sums =
      d.scale.defined() || d.shift.defined() || d.residual.defined() || n.training;
  if (needs_sums) sums(n, gain, dy, d.residual, sum_dz, sum_dz_x);

  Tensor slope = Tensor::zeros(n.scale.shape(), n.x.dtype());
  Tensor offset = Tensor::zeros(n.scale.shape(), n.x.dtype());
  T* slopes = slope.mutable_data<T>();
  T* offsets = offset.mutable_data<T>();
  T* dscale = mutable_data_or_null<T>(d.scale);
  T* dshift = mutable_data_or_null<T>(d.shift);
  for (size_t c = 0; c < channels; ++c) {
    const auto inverse = static_cast<double>(n.inverse.data<T>()[c]);
    if (dscale != nullptr) dscale[c] = static_cast<T>(sum_dz_x[c] * inverse);
    if (dshift != nullptr) dshift[c] = static_cast<T>(sum_dz[c]);
    if (!n.training) continue;
    const auto g = static_cast<double>(gain.data<T>()[c]);
    slopes[c] = static_cast<T>(-g * inverse * inverse * sum_dz_x[c] / pixels);
    offsets[c] = static_cast<T>(-g * sum_dz[c] / pixels);
  }
  if (!d.wants_x) return;
  // Where the residual's gradient was asked for, it is dz: what remains is linear in it.
  BatchNormOperands rest = n;
  if (d.residual.defined()) {
    rest.activation = Activation::none;
    rest.residual = {};
  }
  const Tensor& dz = d.residual.defined() ? d.residual : dy;
  if (n.x.dtype() == DType::f32) {
    RowMaker rows = input_gradient_rows(rest, gain, {.dy = dz, .slope = slope, .offset = offset});
    d.x = Tensor::promised(n.x.shape(), std::move(rows),
                           1 + std::max(n.x.promise_depth(), dz.promise_depth()));
  } else {
    d.x = Tensor(n.x.shape(), n.x.dtype());
    batch_norm_input_gradient(rest, dz, slope, offset, d.x);
  }
}

}  // namespace

PointwiseKind kind_of(Activation activation) {
  switch (activation) {
    case Activation::none:
      return PointwiseKind::none;
    case Activation::relu:
      return PointwiseKind::relu;
    case Activation::relu6:
      return PointwiseKind::relu6;
    case Activation::hard_swish:
      return PointwiseKind::hard_swish;
    case Activation::silu:
      return PointwiseKind::silu;
  }
  return PointwiseKind::none;
}

void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var) {
  const int64_t pixels = pixels_of(x);
  const int64_t channels = channels_of(x);
  Doubles m(static_cast<size_t>(channels));
  Doubles v(static_cast<size_t>(channels));
  if (x.dtype() == DType::f32)
    channel_moments(TensorSource(x).get(), pixels, channels, m.data(), v.data());
  else
    reference::channel_moments(x.data<double>(), pixels, channels, m.data(), v.data());

  const double unbias = static_cast<double>(pixels) / static_cast<double>(pixels - 1);
  const double keep = 1 - options.momentum;
  with_real_type(x.dtype(), [&]<class T>() {
    T* to_mean = mean.mutable_data<T>();
    T* to_inverse = inverse.mutable_data<T>();
    T* to_running_mean = running_mean.mutable_data<T>();
    T* to_running_var = running_var.mutable_data<T>();
    for (size_t c = 0; c < m.size(); ++c) {
      to_mean[c] = static_cast<T>(m[c]);
      to_inverse[c] = static_cast<T>(1 / std::sqrt(v[c] + options.eps));
      const auto old_mean = static_cast<double>(to_running_mean[c]);
      const auto old_var = static_cast<double>(to_running_var[c]);
      to_running_mean[c] = static_cast<T>(keep * old_mean + options.momentum * m[c]);
      to_running_var[c] = static_cast<T>(keep * old_var + options.momentum * v[c] * unbias);
    }
  });
}

void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse) {
  with_real_type(var.dtype(), [&]<class T>() {
    const T* v = var.data<T>();
    for (T& out : inverse.mutable_values<T>())
      out = static_cast<T>(1 / std::sqrt(static_cast<double>(*v++) + eps));
  });
}

void batch_norm_forward(const BatchNormOperands& n, Tensor& y) {
  if (n.x.dtype() == DType::f32)
    return make_rows(normalized_rows(n), pixels_of(n.x), channels_of(n.x), y.mutable_data<float>());
  const Tensor gain = gain_of<double>(n);
  reference::normalize(reference_of(n, gain), y.mutable_data<double>());
}

Tensor batch_norm_value(const BatchNormOperands& n) {
  if (n.x.dtype() == DType::f32) {
    RowMaker rows = normalized_rows(n);  // may keep x: its depth is asked for afterwards
    return Tensor::promised(n.x.shape(), std::move(rows), 1 + n.x.promise_depth());
  }
  Tensor y(n.x.shape(), n.x.dtype());
  batch_norm_forward(n, y);
  return y;
}

void batch_norm_backward(const BatchNormOperands& n, const Tensor& dy, BatchNormGradients& d) {
  with_real_type(n.x.dtype(), [&]<class T>() { backward<T>(n, dy, d); });
}

void batch_norm_sums(const BatchNormOperands& n, const Tensor& dy, Doubles& sum_dz,
                     Doubles& sum_dz_x) {
  Tensor none;
  with_real_type(n.x.dtype(),
                 [&]<class T>() { sums(n, gain_of<T>(n), dy, none, sum_dz, sum_dz_x); });
}

void batch_norm_input_gradient(const BatchNormOperands& n, const Tensor& dy, const Tensor& slope,
                               const Tensor& offset, Tensor& dx) {
  if (n.x.dtype() == DType::f32) {
    const RowMaker rows =
        input_gradient_rows(n, gain_of<float>(n), {.dy = dy, .slope = slope, .offset = offset});
    return make_rows(rows, pixels_of(n.x), channels_of(n.x), dx.mutable_data<float>());
  }
  const Tensor gain = gain_of<double>(n);
  reference::normalize_gradient(reference_of(n, gain), dy.data<double>(), slope.data<double>(),
                                offset.data<double>(), dx.mutable_data<double>());
}

}  // namespace decant::cpu
