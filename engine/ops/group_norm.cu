// x [images, pixels, channels] as columns.cuh cuts it: a thread stays with one image and with one
// channel, or with as many neighbouring ones as 16 bytes of x hold, and strides over pixels. What
// is reduced is reduced per channel; one thread per image and group then puts its channels
// together. All passes over pixels are bound by memory: forward reads x twice and writes y,
// backward reads x and dy twice and writes dx.
// x, y and their gradients are of type T, all else is float.
#include "engine/ops/group_norm_kernels.h"
#include "engine/ops/moments.cuh"

namespace decant::cuda {
namespace {

// How groups lie: `width` channels each, `groups` of them in an image, of `count` values.
struct Groups {
  int64_t images, groups, width;
  float count;

  __device__ int64_t channels() const { return groups * width; }
};

struct KeepMoments {
  Moments* of_channels;  // [images, channels]
  __device__ void operator()(int64_t at, const Moments& m) const { of_channels[at] = m; }
};

__global__ void group_moments_kernel(Groups g, const Moments* __restrict__ of_channels, float eps,
                                     float* __restrict__ mean, float* __restrict__ inverse) {
  for (int64_t i = global_thread(); i < g.images * g.groups; i += all_threads()) {
    Moments m = Moments::neutral();
    for (int64_t c = 0; c < g.width; ++c) m.merge(of_channels[i * g.width + c]);
    mean[i] = m.mean;
    inverse[i] = inverse_deviation(m.squares / g.count, eps);
  }
}

struct Parameters {
  const float *scale, *mean, *inverse;
  int64_t groups, width;
};

// What a thread knows of its kWidth channels of an image.
template <int kWidth>
struct Channels {
  Floats<kWidth> mean, inverse, scale;
  int64_t group[kWidth];  // of [images, groups]

  __device__ Channels(const Parameters& n, int64_t image, int64_t channel) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      group[k] = image * n.groups + (channel + k) / n.width;
      mean.at[k] = n.mean[group[k]];
      inverse.at[k] = n.inverse[group[k]];
      scale.at[k] = n.scale[channel + k];
    }
  }
};

template <int kWidth, class T>
__global__ void normalize_kernel(Tiles t, Parameters n, const float* __restrict__ shift,
                                 const T* __restrict__ x, T* __restrict__ y) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  const Channels<kWidth> channels(n, s.image, s.column * kWidth);
  Floats<kWidth> shifts;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) shifts.at[k] = shift[s.column * kWidth + k];
  for (int64_t row = s.first; row < s.end; row += t.slots) {
    const int64_t at = ((s.image * t.length + row) * t.inner + s.column) * kWidth;
    Floats<kWidth> values = load<kWidth>(x + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      values.at[k] =
          (values.at[k] - channels.mean.at[k]) * (channels.inverse.at[k] * channels.scale.at[k]) +
          shifts.at[k];
    store(y + at, values);
  }
}

// ---- backward -----------------------------------------------------------------------------------

struct GradientSums {
  float dy, dy_x;  // of dy and dy (x - mean)

  static __device__ GradientSums neutral() { return {0.0F, 0.0F}; }
  __device__ void merge(const GradientSums& other) {
    dy += other.dy;
    dy_x += other.dy_x;
  }
};

template <class T>
struct AddGradients {
  Parameters n;
  const T* x;
  const T* dy;

  template <int kWidth>
  struct Columns {
    const T* x;
    const T* dy;
    Channels<kWidth> channels;

    __device__ void add(GradientSums (&states)[kWidth], int64_t at) const {
      const Floats<kWidth> values = load<kWidth>(x + at);
      const Floats<kWidth> d = load<kWidth>(dy + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        states[k].dy += d.at[k];
        states[k].dy_x += d.at[k] * (values.at[k] - channels.mean.at[k]);
      }
    }
  };
  template <int kWidth>
  __device__ Columns<kWidth> columns(int64_t image, int64_t column) const {
    return {x, dy, Channels<kWidth>(n, image, column)};
  }
};

struct KeepSums {
  GradientSums* of_channels;  // [images, channels]
  __device__ void operator()(int64_t at, const GradientSums& sums) const { of_channels[at] = sums; }
};

// dx = dy scale inverse + (x - mean) slope + offset
__global__ void group_sums_kernel(Groups g, Parameters n,
                                  const GradientSums* __restrict__ of_channels,
                                  float* __restrict__ slope, float* __restrict__ offset) {
  for (int64_t i = global_thread(); i < g.images * g.groups; i += all_threads()) {
    float sum = 0.0F;
    float sum_x = 0.0F;
    for (int64_t c = 0; c < g.width; ++c) {
      const GradientSums sums = of_channels[i * g.width + c];
      const float scale = n.scale[i % g.groups * g.width + c];
      sum += sums.dy * scale;
      sum_x += sums.dy_x * scale;
    }
    const float inverse = n.inverse[i];
    slope[i] = -inverse * inverse * inverse * sum_x / g.count;
    offset[i] = -inverse * sum / g.count;
  }
}

__global__ void parameter_gradient_kernel(Groups g, Parameters n,
                                          const GradientSums* __restrict__ of_channels,
                                          float* __restrict__ dscale, float* __restrict__ dshift) {
  for (int64_t c = global_thread(); c < g.channels(); c += all_threads()) {
    float sum = 0.0F;
    float sum_x = 0.0F;
    for (int64_t image = 0; image < g.images; ++image) {
      const GradientSums sums = of_channels[image * g.channels() + c];
      sum += sums.dy;
      sum_x += sums.dy_x * n.inverse[image * g.groups + c / g.width];
    }
    if (dscale != nullptr) dscale[c] = sum_x;
    if (dshift != nullptr) dshift[c] = sum;
  }
}

template <int kWidth, class T>
__global__ void input_gradient_kernel(Tiles t, Parameters n, const T* __restrict__ x,
                                      const T* __restrict__ dy, const float* __restrict__ slope,
                                      const float* __restrict__ offset, T* __restrict__ dx) {
  const Spot s = spot_of(t);
  if (!s.inside) return;
  const Channels<kWidth> channels(n, s.image, s.column * kWidth);
  Floats<kWidth> slopes;
  Floats<kWidth> offsets;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    slopes.at[k] = slope[channels.group[k]];
    offsets.at[k] = offset[channels.group[k]];
  }
  for (int64_t row = s.first; row < s.end; row += t.slots) {
    const int64_t at = ((s.image * t.length + row) * t.inner + s.column) * kWidth;
    const Floats<kWidth> values = load<kWidth>(x + at);
    Floats<kWidth> d = load<kWidth>(dy + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      d.at[k] = d.at[k] * (channels.inverse.at[k] * channels.scale.at[k]) +
                (values.at[k] - channels.mean.at[k]) * slopes.at[k] + offsets.at[k];
    store(dx + at, d);
  }
}

// ---- launches -----------------------------------------------------------------------------------

Middle middle_of(const GroupNormOperands& n) {
  return {n.images(), n.pixels(), n.channels()};
}

Groups groups_of(const GroupNormOperands& n) {
  return {.images = n.images(),
          .groups = n.groups(),
          .width = n.width(),
          .count = static_cast<float>(n.pixels() * n.width())};
}

Parameters parameters_of(const GroupNormOperands& n) {
  return {.scale = n.scale.device_data<float>(),
          .mean = n.mean.device_data<float>(),
          .inverse = n.inverse.device_data<float>(),
          .groups = n.groups(),
          .width = n.width()};
}

// For passes that write as much as they read (see batch_norm.cu).
Tiles elementwise_tiles(Middle m, int width) {
  constexpr int64_t kBlocks = 4096;
  return tiles_of(m, width, kBlocks);
}

// Room for a state of each image's channels, and its first element.
template <class State>
std::pair<Tensor, State*> states_of(const GroupNormOperands& n) {
  const int64_t bytes = n.images() * n.channels() * static_cast<int64_t>(sizeof(State));
  Tensor memory({bytes}, DType::u8, Device::cuda);
  auto* first = reinterpret_cast<State*>(memory.mutable_device_data<uint8_t>());
  return {memory, first};
}

template <class T>
void backward(const GroupNormOperands& n, const Tensor& dy, GroupNormGradients& d) {
  constexpr const char* kName = "group_norm backward";
  const Middle m = middle_of(n);
  const Groups g = groups_of(n);
  const Parameters p = parameters_of(n);
  const T* x = n.x.device_data<T>();
  const T* gradient = dy.device_data<T>();
  const auto [memory, sums] = states_of<GradientSums>(n);
  const AddGradients<T> source = {p, x, gradient};
  const KeepSums sink = {sums};
  with_width<T>({m.inner}, {x, gradient},
                [&]<int kWidth>() { reduce_middle<GradientSums, kWidth>(kName, m, source, sink); });
  if (d.scale.defined() || d.shift.defined())
    launch(kName, parameter_gradient_kernel, grid_over(m.inner), g, p, sums,
           d.scale.defined() ? d.scale.mutable_device_data<float>() : nullptr,
           d.shift.defined() ? d.shift.mutable_device_data<float>() : nullptr);
  if (!d.x.defined()) return;
  Tensor slope(n.mean.shape(), DType::f32, Device::cuda);
  Tensor offset(n.mean.shape(), DType::f32, Device::cuda);
  launch(kName, group_sums_kernel, grid_over(slope.size()), g, p, sums,
         slope.mutable_device_data<float>(), offset.mutable_device_data<float>());
  T* dx = d.x.mutable_device_data<T>();
  with_width<T>({m.inner}, {x, gradient, dx}, [&]<int kWidth>() {
    const Tiles tiles = elementwise_tiles(m, kWidth);
    launch(kName, input_gradient_kernel<kWidth, T>, tiles.grid(), tiles, p, x, gradient,
           slope.device_data<float>(), offset.device_data<float>(), dx);
  });
}

}  // namespace

void group_norm_moments(GroupNormOperands& n, double eps) {
  const Middle m = middle_of(n);
  const auto [memory, moments] = states_of<Moments>(n);
  const KeepMoments sink = {moments};
  with_stored_type(n.x.dtype(), [&]<class T>() {
    const AddToMoments<T> source = {n.x.device_data<T>()};
    with_width<T>({m.inner}, {source.x}, [&]<int kWidth>() {
      reduce_middle<Moments, kWidth>("group_norm", m, source, sink);
    });
  });
  launch("group_norm", group_moments_kernel, grid_over(n.mean.size()), groups_of(n), moments,
         static_cast<float>(eps), n.mean.mutable_device_data<float>(),
         n.inverse.mutable_device_data<float>());
}

void group_norm_forward(const GroupNormOperands& n, Tensor& y) {
  const Middle m = middle_of(n);
  with_stored_type(y.dtype(), [&]<class T>() {
    const T* x = n.x.device_data<T>();
    T* out = y.mutable_device_data<T>();
    with_width<T>({m.inner}, {x, out}, [&]<int kWidth>() {
      const Tiles tiles = elementwise_tiles(m, kWidth);
      launch("group_norm", normalize_kernel<kWidth, T>, tiles.grid(), tiles, parameters_of(n),
             n.shift.device_data<float>(), x, out);
    });
  });
}

void group_norm_backward(const GroupNormOperands& n, const Tensor& dy, GroupNormGradients& d) {
  with_stored_type(dy.dtype(), [&]<class T>() { backward<T>(n, dy, d); });
}

}  // namespace decant::cuda
