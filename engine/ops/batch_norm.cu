// x [pixels, channels] as columns.cuh cuts it: a thread stays with one channel or four neighbouring
// ones, whose moments and parameters it keeps in registers, and strides over pixels. All passes are
// bound by memory: training forward reads x twice and writes y; backward reads x and dy twice and
// writes dx; a residual adds one read to each pass, its gradient one write.
#include "engine/ops/batch_norm_activation.h"
#include "engine/ops/batch_norm_passes.h"
#include "engine/ops/columns.cuh"

namespace decant::cuda {
namespace {

// ---- moments ------------------------------------------------------------------------------------

// Source: Welford 1962 for single values; Chan, Golub & LeVeque 1979 for two sets.
struct Moments {
  float count, mean, squares;  // squares: the sum of (x - mean)^2

  static __device__ Moments neutral() { return {0.0F, 0.0F, 0.0F}; }
  __device__ void add(float x) {
    count += 1.0F;
    const float before = x - mean;
    mean += before / count;
    squares += before * (x - mean);
  }
  __device__ void merge(const Moments& other) {
    if (other.count == 0.0F) return;
    const float total = count + other.count;
    const float part = other.count / total;
    const float apart = other.mean - mean;
    mean += apart * part;
    squares += other.squares + apart * apart * (count * part);
    count = total;
  }
};

struct AddToMoments {
  const float* x;
  template <int kWidth>
  __device__ void add(Moments (&states)[kWidth], int64_t at, int64_t /*column*/) const {
    const Floats<kWidth> values = load<kWidth>(x + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) states[k].add(values.at[k]);
  }
};

__device__ float inverse_deviation(float var, float eps) {
  return 1.0F / sqrtf(var + eps);
}

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

// One pass's view of the operands.
struct Normalization {
  const float *x, *mean, *inverse, *scale, *shift;
  const float* residual;  // or null
  Activation activation;
};

// What it knows of kWidth neighbouring channels.
template <int kWidth>
struct Channels {
  Floats<kWidth> mean, gain, shift;

  __device__ Channels(const Normalization& n, int64_t c)
      : mean(load<kWidth>(n.mean + c)),
        gain(load<kWidth>(n.scale + c)),
        shift(load<kWidth>(n.shift + c)) {
    const Floats<kWidth> inverse = load<kWidth>(n.inverse + c);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) gain.at[k] *= inverse.at[k];
  }
};

// z = (x - mean) gain + shift + residual, of the elements from `at` on; leaves x - mean in centred.
template <int kWidth>
__device__ Floats<kWidth> normalized(const Normalization& n, const Channels<kWidth>& channels,
                                     int64_t at, Floats<kWidth>& centred) {
  centred = load<kWidth>(n.x + at);
  Floats<kWidth> z;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    centred.at[k] -= channels.mean.at[k];
    z.at[k] = centred.at[k] * channels.gain.at[k] + channels.shift.at[k];
  }
  if (n.residual != nullptr) {
    const Floats<kWidth> residual = load<kWidth>(n.residual + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) z.at[k] += residual.at[k];
  }
  return z;
}

// dz = dy act'(z), and x - mean.
template <int kWidth>
__device__ Floats<kWidth> activation_gradient(const Normalization& n,
                                              const Channels<kWidth>& channels, const float* dy,
                                              int64_t at, Floats<kWidth>& centred) {
  const Floats<kWidth> z = normalized(n, channels, at, centred);
  Floats<kWidth> dz = load<kWidth>(dy + at);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) dz.at[k] *= activation_slope(n.activation, z.at[k]);
  return dz;
}

template <int kWidth>
__global__ void normalize_kernel(Tiles t, Normalization n, float* __restrict__ y) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  const Channels<kWidth> channels(n, s.column * kWidth);
#pragma unroll 4
  for (int64_t row = s.first; row < s.end; row += t.slots) {
    const int64_t at = (row * t.inner + s.column) * kWidth;
    Floats<kWidth> centred;
    Floats<kWidth> z = normalized(n, channels, at, centred);
#pragma unroll
    for (float& value : z.at) value = activate(n.activation, value);
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

struct AddGradients {
  Normalization n;
  const float* dy;
  float* dz;  // or null

  template <int kWidth>
  __device__ void add(GradientSums (&states)[kWidth], int64_t at, int64_t column) const {
    const Channels<kWidth> channels(n, column);
    Floats<kWidth> centred;
    const Floats<kWidth> d = activation_gradient(n, channels, dy, at, centred);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      states[k].dz += d.at[k];
      states[k].dz_x += d.at[k] * centred.at[k];
    }
    if (dz != nullptr) store(dz + at, d);
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

template <int kWidth>
__global__ void input_gradient_kernel(Tiles t, Normalization n, const float* __restrict__ dy,
                                      const float* __restrict__ slope,
                                      const float* __restrict__ offset, float* __restrict__ dx) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  const Channels<kWidth> channels(n, s.column * kWidth);
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
    Floats<kWidth> d = activation_gradient(n, channels, dy, at, centred);
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

const float* data_or_null(const Tensor& t) {
  return t.defined() ? t.device_data<float>() : nullptr;
}
float* mutable_data_or_null(Tensor& t) {
  return t.defined() ? t.mutable_device_data<float>() : nullptr;
}

Normalization normalization_of(const BatchNormOperands& n) {
  return {.x = n.x.device_data<float>(),
          .mean = n.mean.device_data<float>(),
          .inverse = n.inverse.device_data<float>(),
          .scale = n.scale.device_data<float>(),
          .shift = n.shift.device_data<float>(),
          .residual = data_or_null(n.residual),
          .activation = n.activation};
}

// Parameters may be views at any offset of a larger buffer.
bool in_fours(const Normalization& n, Middle m, std::initializer_list<const void*> others) {
  return cuda::in_fours({m.inner}, {n.x, n.mean, n.inverse, n.scale, n.shift, n.residual}) &&
         cuda::in_fours({}, others);
}

// For passes that write as much as they read: as many blocks as there are rows for.
Tiles elementwise_tiles(Middle m, int width) {
  return tiles_of(m, width, INT64_MAX);
}

}  // namespace

void batch_norm_moments(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                        Tensor& inverse, Tensor& running_mean, Tensor& running_var) {
  const Middle m = pixels_and_channels(x);
  const AddToMoments source = {x.device_data<float>()};
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
  with_width(cuda::in_fours({m.inner}, {source.x}),
             [&]<int kWidth>() { reduce_middle<Moments, kWidth>("batch_norm", m, source, sink); });
}

void batch_norm_inverse(const Tensor& var, double eps, Tensor& inverse) {
  launch("batch_norm", inverse_kernel, grid_over(var.size()), var.device_data<float>(),
         static_cast<float>(eps), inverse.mutable_device_data<float>(), var.size());
}

void batch_norm_forward(const BatchNormOperands& operands, Tensor& y) {
  const Normalization n = normalization_of(operands);
  const Middle m = pixels_and_channels(operands.x);
  float* out = y.mutable_device_data<float>();
  with_width(in_fours(n, m, {out}), [&]<int kWidth>() {
    const Tiles tiles = elementwise_tiles(m, kWidth);
    launch("batch_norm", normalize_kernel<kWidth>, tiles.grid(), tiles, n, out);
  });
}

void batch_norm_backward(const BatchNormOperands& operands, const Tensor& dy,
                         BatchNormGradients& d) {
  Normalization n = normalization_of(operands);
  const Middle m = pixels_and_channels(operands.x);
  const float* gradient = dy.device_data<float>();
  float* dz = mutable_data_or_null(d.residual);
  Tensor slope;
  Tensor offset;
  if (operands.training) {
    slope = Tensor(operands.scale.shape(), DType::f32, Device::cuda);
    offset = Tensor(operands.scale.shape(), DType::f32, Device::cuda);
  }
  if (operands.training || d.scale.defined() || d.shift.defined() || dz != nullptr) {
    const AddGradients source = {.n = n, .dy = gradient, .dz = dz};
    const StoreGradients sink = {.scale = n.scale,
                                 .inverse = n.inverse,
                                 .dscale = mutable_data_or_null(d.scale),
                                 .dshift = mutable_data_or_null(d.shift),
                                 .slope = mutable_data_or_null(slope),
                                 .offset = mutable_data_or_null(offset),
                                 .pixels = static_cast<float>(m.length)};
    with_width(in_fours(n, m, {gradient, dz}), [&]<int kWidth>() {
      reduce_middle<GradientSums, kWidth>("batch_norm backward", m, source, sink);
    });
  }
  if (!d.x.defined()) return;
  if (dz != nullptr) {  // what remains is linear in it
    gradient = dz;
    n.activation = Activation::none;
    n.residual = nullptr;
  }
  float* dx = d.x.mutable_device_data<float>();
  with_width(in_fours(n, m, {gradient, dx}), [&]<int kWidth>() {
    const Tiles tiles = elementwise_tiles(m, kWidth);
    launch("batch_norm backward", input_gradient_kernel<kWidth>, tiles.grid(), tiles, n, gradient,
           data_or_null(slope), data_or_null(offset), dx);
  });
}

}  // namespace decant::cuda
