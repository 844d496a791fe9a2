// x [pixels, channels] as columns.cuh cuts it: a thread stays with one channel, or with as many
// neighbouring ones as 16 bytes of x hold, and strides over pixels; what it knows of its channels
// (moments, sums, parameters) it reads once and keeps in registers. Kernels are compiled for each
// activation, with a residual and without.
// All passes are bound by memory: training forward reads x twice and writes y; backward reads x and
// dy twice and writes dx; a residual adds one read to forward and to the first pass back, which
// writes its gradient: the second reads that instead of dy and the residual.
// Activations and their gradients are of type T, all else is float.
#include "engine/ops/batch_norm_activation.h"
#include "engine/ops/batch_norm_passes.h"
#include "engine/ops/moments.cuh"

namespace decant::cuda {
namespace {

// ---- moments ------------------------------------------------------------------------------------

struct StoreMoments {
  float* mean;
  float* inverse;
  float* running_mean;
  float* running_var;
  float pixels, unbias, eps, keep, take;

  __device__ void operator()(int64_t c, const Moments& m) const {
    const float var = m.squares / pixels;
    mean[c] = m.mean;
    inverse[c] = inverse_deviation(var, eps);
    running_mean[c] = keep * running_mean[c] + take * m.mean;
    running_var[c] = keep * running_var[c] + take * (var * unbias);
  }
};

__global__ void inverse_kernel(const float* __restrict__ var, float eps,
                               float* __restrict__ inverse, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads())
    inverse[i] = inverse_deviation(var[i], eps);
}

// ---- normalization ------------------------------------------------------------------------------

// What a kernel is compiled for.
template <Activation kActs, bool kAdds>
struct Form {
  static constexpr Activation kActivation = kActs;
  static constexpr bool kResidual = kAdds;
};

// One pass's view of the operands.
struct Parameters {
  const float *mean, *inverse, *scale, *shift;
};
template <class T>
struct Normalization {
  const T* x;
  const T* residual;  // or null
  Parameters of;
};

// What it knows of kWidth neighbouring channels.
template <int kWidth>
struct Channels {
  Floats<kWidth> mean, gain, shift;

  __device__ Channels(const Parameters& n, int64_t c)
      : mean(load<kWidth>(n.mean + c)),
        gain(load<kWidth>(n.scale + c)),
        shift(load<kWidth>(n.shift + c)) {
    const Floats<kWidth> inverse = load<kWidth>(n.inverse + c);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) gain.at[k] *= inverse.at[k];
  }
};

// z = (x - mean) gain + shift + residual, of the elements from `at` on; leaves x - mean in centred.
template <class Form, int kWidth, class T>
__device__ Floats<kWidth> normalized(const Normalization<T>& n, const Channels<kWidth>& channels,
                                     int64_t at, Floats<kWidth>& centred) {
  centred = load<kWidth>(n.x + at);
  Floats<kWidth> z;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    centred.at[k] -= channels.mean.at[k];
    z.at[k] = centred.at[k] * channels.gain.at[k] + channels.shift.at[k];
  }
  if constexpr (Form::kResidual) {
    const Floats<kWidth> residual = load<kWidth>(n.residual + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) z.at[k] += residual.at[k];
  }
  return z;
}

// dz = dy act'(z), and x - mean.
template <class Form, int kWidth, class T>
__device__ Floats<kWidth> activation_gradient(const Normalization<T>& n,
                                              const Channels<kWidth>& channels, const T* dy,
                                              int64_t at, Floats<kWidth>& centred) {
  const Floats<kWidth> z = normalized<Form>(n, channels, at, centred);
  Floats<kWidth> dz = load<kWidth>(dy + at);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) dz.at[k] *= activation_slope(Form::kActivation, z.at[k]);
  return dz;
}

template <class Form, int kWidth, class T>
__global__ void normalize_kernel(Tiles t, Normalization<T> n, T* __restrict__ y) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  const Channels<kWidth> channels(n.of, s.column * kWidth);
#pragma unroll 4
  for (int64_t row = s.first; row < s.end; row += t.slots) {
    const int64_t at = (row * t.inner + s.column) * kWidth;
    Floats<kWidth> centred;
    Floats<kWidth> z = normalized<Form>(n, channels, at, centred);
#pragma unroll
    for (float& value : z.at) value = activate(Form::kActivation, value);
    store(y + at, z);
  }
}

// ---- backward -----------------------------------------------------------------------------------

struct GradientSums {
  float dz, dz_x;  // of dz and dz (x - mean)

  static __device__ GradientSums neutral() { return {0.0F, 0.0F}; }
  __device__ void merge(const GradientSums& other) {
    dz += other.dz;
    dz_x += other.dz_x;
  }
};

// Where there is a residual, dz is its gradient, and is stored.
template <class T, class Form>
struct AddGradients {
  Normalization<T> n;
  const T* dy;
  T* dz;

  template <int kWidth>
  struct Columns {
    AddGradients of;
    Channels<kWidth> channels;

    __device__ void add(GradientSums (&states)[kWidth], int64_t at) const {
      Floats<kWidth> centred;
      const Floats<kWidth> d = activation_gradient<Form>(of.n, channels, of.dy, at, centred);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        states[k].dz += d.at[k];
        states[k].dz_x += d.at[k] * centred.at[k];
      }
      if constexpr (Form::kResidual) store(of.dz + at, d);
    }
  };
  template <int kWidth>
  __device__ Columns<kWidth> columns(int64_t /*image*/, int64_t column) const {
    return {*this, Channels<kWidth>(n.of, column)};
  }
};

// dx = dz gain + (x - mean) slope + offset. Of given moments slope and offset are null: zero.
struct StoreGradients {
  const float *scale, *inverse;
  float *dscale, *dshift;  // or null
  float *slope, *offset;   // or null
  float pixels;

  __device__ void operator()(int64_t c, const GradientSums& sums) const {
    const float deviation = inverse[c];
    const float dscale_c = sums.dz_x * deviation;
    if (dscale != nullptr) dscale[c] = dscale_c;
    if (dshift != nullptr) dshift[c] = sums.dz;
    if (slope == nullptr) return;
    const float gain = scale[c] * deviation;
    slope[c] = -gain * deviation * dscale_c / pixels;
    offset[c] = -gain * sums.dz / pixels;
  }
};

template <class Form, int kWidth, class T>
__global__ void input_gradient_kernel(Tiles t, Normalization<T> n, const T* __restrict__ dy,
                                      const float* __restrict__ slope,
                                      const float* __restrict__ offset, T* __restrict__ dx) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  const Channels<kWidth> channels(n.of, s.column * kWidth);
  Floats<kWidth> slopes = {};
  Floats<kWidth> offsets = {};
  if (slope != nullptr) {
    slopes = load<kWidth>(slope + s.column * kWidth);
    offsets = load<kWidth>(offset + s.column * kWidth);
  }
#pragma unroll 4
  for (int64_t row = s.first; row < s.end; row += t.slots) {
    const int64_t at = (row * t.inner + s.column) * kWidth;
    Floats<kWidth> centred;
    Floats<kWidth> d = activation_gradient<Form>(n, channels, dy, at, centred);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      d.at[k] = d.at[k] * channels.gain.at[k] + centred.at[k] * slopes.at[k] + offsets.at[k];
    store(dx + at, d);
  }
}

// ---- launches -----------------------------------------------------------------------------------

Middle pixels_and_channels(const Tensor& x) {
  const int64_t channels = x.shape()[-1];
  return {1, x.size() / channels, channels};
}

template <class T>
const T* data_or_null(const Tensor& t) {
  return t.defined() ? t.device_data<T>() : nullptr;
}
template <class T>
T* mutable_data_or_null(Tensor& t) {
  return t.defined() ? t.mutable_device_data<T>() : nullptr;
}

template <class T>
Normalization<T> normalization_of(const BatchNormOperands& n) {
  return {.x = n.x.device_data<T>(),
          .residual = data_or_null<T>(n.residual),
          .of = {.mean = n.mean.device_data<float>(),
                 .inverse = n.inverse.device_data<float>(),
                 .scale = n.scale.device_data<float>(),
                 .shift = n.shift.device_data<float>()}};
}

template <class F>
void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::none:
      return f.template operator()<Activation::none>();
    case Activation::relu:
      return f.template operator()<Activation::relu>();
    case Activation::relu6:
      return f.template operator()<Activation::relu6>();
    case Activation::hard_swish:
      return f.template operator()<Activation::hard_swish>();
    case Activation::silu:
      return f.template operator()<Activation::silu>();
  }
}

// As with_width of all that a pass reads, and of what else it reads or writes. Parameters may be
// views at any offset of a larger buffer.
template <class T, class F>
void with_width_of(const Normalization<T>& n, Middle m, const T* other, const T* another, F&& f) {
  with_width<T>({m.inner},
                {n.x, n.residual, n.of.mean, n.of.inverse, n.of.scale, n.of.shift, other, another},
                f);
}

// For passes that write as much as they read: more blocks than the largest cards hold at once, of
// longer columns beyond, so that parameters are read for many rows.
Tiles elementwise_tiles(Middle m, int width) {
  constexpr int64_t kBlocks = 4096;
  return tiles_of(m, width, kBlocks);
}

template <class Form, class T>
void normalize(const Normalization<T>& n, Middle m, T* y) {
  with_width_of<T>(n, m, y, nullptr, [&]<int kWidth>() {
    const Tiles tiles = elementwise_tiles(m, kWidth);
    launch("batch_norm", normalize_kernel<Form, kWidth, T>, tiles.grid(), tiles, n, y);
  });
}

template <class T>
void forward(const BatchNormOperands& operands, Tensor& y) {
  const Normalization<T> n = normalization_of<T>(operands);
  const Middle m = pixels_and_channels(operands.x);
  T* out = y.mutable_device_data<T>();
  with_activation(operands.activation, [&]<Activation kActs>() {
    n.residual != nullptr ? normalize<Form<kActs, true>>(n, m, out)
                          : normalize<Form<kActs, false>>(n, m, out);
  });
}

template <class Form, class T>
void sum_gradients(const Normalization<T>& n, Middle m, const T* dy, T* dz,
                   const StoreGradients& sink) {
  with_width_of<T>(n, m, dy, dz, [&]<int kWidth>() {
    reduce_middle<GradientSums, kWidth>("batch_norm backward", m, AddGradients<T, Form>{n, dy, dz},
                                        sink);
  });
}

template <class T>
void backward(const BatchNormOperands& operands, const Tensor& dy, BatchNormGradients& d) {
  Normalization<T> n = normalization_of<T>(operands);
  const Middle m = pixels_and_channels(operands.x);
  const T* gradient = dy.device_data<T>();
  Activation activation = operands.activation;
  Tensor slope;
  Tensor offset;
  if (operands.training) {
    slope = Tensor(operands.scale.shape(), DType::f32, Device::cuda);
    offset = Tensor(operands.scale.shape(), DType::f32, Device::cuda);
  }
  const bool adds = activation != Activation::none && n.residual != nullptr;
  Tensor kept = d.residual;
  if (adds && !kept.defined()) kept = Tensor(dy.shape(), dy.dtype(), Device::cuda);
  T* dz = mutable_data_or_null<T>(kept);
  if (operands.training || d.scale.defined() || d.shift.defined() || adds) {
    const StoreGradients sink = {.scale = n.of.scale,
                                 .inverse = n.of.inverse,
                                 .dscale = mutable_data_or_null<float>(d.scale),
                                 .dshift = mutable_data_or_null<float>(d.shift),
                                 .slope = mutable_data_or_null<float>(slope),
                                 .offset = mutable_data_or_null<float>(offset),
                                 .pixels = static_cast<float>(m.length)};
    with_activation(activation, [&]<Activation kActs>() {
      if constexpr (kActs != Activation::none)
        if (adds) return sum_gradients<Form<kActs, true>>(n, m, gradient, dz, sink);
      sum_gradients<Form<kActs, false>, T>(n, m, gradient, nullptr, sink);
    });
  }
  if (!d.wants_x) return;
  d.x = Tensor(dy.shape(), dy.dtype(), Device::cuda);
  if (adds) {  // what remains is linear in it
    gradient = dz;
    activation = Activation::none;
    n.residual = nullptr;
  }
  T* dx = d.x.mutable_device_data<T>();
  with_activation(activation, [&]<Activation kActs>() {
    with_width_of<T>(n, m, gradient, dx, [&]<int kWidth>() {
      const Tiles tiles = elementwise_tiles(m, kWidth);
      launch("batch_norm backward", input_gradient_kernel<Form<kActs, false>, kWidth, T>,
             tiles.grid(), tiles, n, gradient, data_or_null<float>(slope),
             data_or_null<float>(offset), dx);
    });
  });
}

}  // namespace

void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var) {
  const Middle m = pixels_and_channels(x);
  const auto pixels = static_cast<double>(m.length);
  const StoreMoments sink = {.mean = mean.mutable_device_data<float>(),
                             .inverse = inverse.mutable_device_data<float>(),
                             .running_mean = running_mean.mutable_device_data<float>(),
                             .running_var = running_var.mutable_device_data<float>(),
                             .pixels = static_cast<float>(pixels),
                             .unbias = static_cast<float>(pixels / (pixels - 1)),
                             .eps = static_cast<float>(options.eps),
                             .keep = static_cast<float>(1 - options.momentum),
                             .take = static_cast<float>(options.momentum)};
  with_stored_type(x.dtype(), [&]<class T>() {
    const AddToMoments<T> source = {x.device_data<T>()};
    with_width<T>({m.inner}, {source.x}, [&]<int kWidth>() {
      reduce_middle<Moments, kWidth>("batch_norm", m, source, sink);
    });
  });
}

void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse) {
  launch("batch_norm", inverse_kernel, grid_over(var.size()), var.device_data<float>(),
         static_cast<float>(eps), inverse.mutable_device_data<float>(), var.size());
}

void batch_norm_forward(const BatchNormOperands& operands, Tensor& y) {
  with_stored_type(y.dtype(), [&]<class T>() { forward<T>(operands, y); });
}

void batch_norm_backward(const BatchNormOperands& operands, const Tensor& dy,
                         BatchNormGradients& d) {
  with_stored_type(dy.dtype(), [&]<class T>() { backward<T>(operands, dy, d); });
}

}  // namespace decant::cuda
