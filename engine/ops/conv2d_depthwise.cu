// One filter per channel. A thread takes four neighbouring channels and, in the forward pass, a
// strip of four results along a line, so that what a line of taps reads is read once; neighbouring
// threads take neighbouring channels. Bound by the bytes of x and y where the caches hold the
// filter's rows. Float32 in all modes, since arithmetic costs nothing here.
#include "engine/cuda/ptx.cuh"
#include "engine/ops/conv2d_gather.cuh"

namespace decant::cuda::depthwise {
namespace {

constexpr int kThreads = 256;
constexpr int kStrip = 4;                  // results along a line
constexpr int kBlockChannels = 4 * kWarp;  // at most
constexpr int64_t kMaxBlocks = 16 * kBlocksToFill;

/// y from x by w, or in its place dx from dy: filters are turned round then.
template <class T>
struct Filter {
  const T* x;
  const float* w;
  const float* bias;
  T* y;
  int64_t strips;  // of all lines
  int h, wide, ho, wo, channels;
  int top, left;
  bool turned;
  int block_channels;  // that a block takes, and how often over it has the threads for them
  int lanes;
};

// Four neighbouring channels.
__device__ float4 load4(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
__device__ float4 load4(const bf16* from) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(from);  // the lower half comes first
  return make_float4(__uint_as_float(pairs.x << 16U), __uint_as_float(pairs.x & 0xFFFF0000U),
                     __uint_as_float(pairs.y << 16U), __uint_as_float(pairs.y & 0xFFFF0000U));
}
__device__ void store4(float* to, const float4& v) {
  *reinterpret_cast<float4*>(to) = v;
}
__device__ void store4(bf16* to, const float4& v) {
  *reinterpret_cast<uint2*>(to) = make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
}

__device__ void add_product(float4& sum, const float4& a, const float4& b) {
  sum.x += a.x * b.x;
  sum.y += a.y * b.y;
  sum.z += a.z * b.z;
  sum.w += a.w * b.w;
}

// Weights [channels, taps] of this block's channels to shared memory as [taps, channels].
template <int kTaps, class Weights, class T>
__device__ void fetch_weights(Weights& weights, const Filter<T>& f) {
  const int first_channel = static_cast<int>(blockIdx.y) * f.block_channels;
  const int left = f.channels - first_channel;
  const int channels = left < f.block_channels ? left : f.block_channels;
  for (int i = static_cast<int>(threadIdx.x); i < channels * kTaps; i += kThreads) {
    const int tap = f.turned ? kTaps - 1 - i % kTaps : i % kTaps;
    weights[tap * kBlockChannels + i / kTaps] = f.w[first_channel * kTaps + i];
  }
  __syncthreads();
}

// What a thread works on: four channels from `channel` on, which is `in_block` of its block's, and
// of the work on them every f.lanes-th piece.
struct Quad {
  int channel, in_block, lane;
  bool works;

  template <class T>
  __device__ explicit Quad(const Filter<T>& f) {
    const int quads = f.block_channels / 4;
    in_block = 4 * (static_cast<int>(threadIdx.x) % quads);
    channel = static_cast<int>(blockIdx.y) * f.block_channels + in_block;
    lane = static_cast<int>(threadIdx.x) / quads;
    works = lane < f.lanes && channel < f.channels;
  }

  __device__ float4 values_of(const float* bias) const {
    return bias == nullptr ? make_float4(0.0F, 0.0F, 0.0F, 0.0F)
                           : make_float4(bias[channel], bias[channel + 1], bias[channel + 2],
                                         bias[channel + 3]);
  }
};

template <class T, int kSize, int kStride>
__global__ __launch_bounds__(kThreads) void strip_kernel(Filter<T> f) {
  MOST_THREADS(kThreads);
  SHARED(weights, float[kSize * kSize * kBlockChannels]);
  fetch_weights<kSize * kSize>(weights, f);
  const Quad mine(f);
  if (!mine.works) return;

  const int per_line = (f.wo + kStrip - 1) / kStrip;
  const float4 bias = mine.values_of(f.bias);
  for (int64_t strip = static_cast<int64_t>(blockIdx.x) * f.lanes + mine.lane; strip < f.strips;
       strip += static_cast<int64_t>(gridDim.x) * f.lanes) {
    const int64_t line = strip / per_line;
    const int j = static_cast<int>(strip % per_line) * kStrip;
    const int64_t image = line / f.ho;
    const int i = static_cast<int>(line % f.ho);
    float4 sums[kStrip];
#pragma unroll
    for (float4& sum : sums) sum = bias;
#pragma unroll
    for (int r = 0; r < kSize; ++r) {
      const int h = i * kStride + r - f.top;
      if (h < 0 || h >= f.h) continue;
      const T* row = f.x + (image * f.h + h) * f.wide * f.channels + mine.channel;
      float4 window[(kStrip - 1) * kStride + kSize];
#pragma unroll
      for (int q = 0; q < (kStrip - 1) * kStride + kSize; ++q) {
        const int v = j * kStride + q - f.left;
        window[q] = v >= 0 && v < f.wide ? load4(row + static_cast<int64_t>(v) * f.channels)
                                         : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
      }
#pragma unroll
      for (int s = 0; s < kSize; ++s) {
        const float4 weight = load4(&weights[(r * kSize + s) * kBlockChannels + mine.in_block]);
#pragma unroll
        for (int t = 0; t < kStrip; ++t) add_product(sums[t], window[t * kStride + s], weight);
      }
    }
    T* to = f.y + (line * f.wo + j) * f.channels + mine.channel;
#pragma unroll
    for (int t = 0; t < kStrip; ++t)
      if (j + t < f.wo) store4(to + int64_t{t} * f.channels, sums[t]);
  }
}

// Input gradient of stride 2, a pixel per thread: only every other tap of every other line meets
// it. x is dy here and y is dx.
template <class T, int kSize>
__global__ __launch_bounds__(kThreads) void stride2_gradient_kernel(Filter<T> f) {
  MOST_THREADS(kThreads);
  SHARED(weights, float[kSize * kSize * kBlockChannels]);
  fetch_weights<kSize * kSize>(weights, f);
  const Quad mine(f);
  if (!mine.works) return;

  const float4 bias = mine.values_of(f.bias);
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * f.lanes + mine.lane; pixel < f.strips;
       pixel += static_cast<int64_t>(gridDim.x) * f.lanes) {
    const int v = static_cast<int>(pixel % f.wo);
    const int64_t line = pixel / f.wo;
    const int h = static_cast<int>(line % f.ho);
    const int64_t image = line / f.ho;
    float4 sum = bias;
#pragma unroll
    for (int r = 0; r < kSize; ++r) {
      const int from = h + f.top - r;
      if (from < 0 || from % 2 != 0 || from / 2 >= f.h) continue;
      const T* row = f.x + (image * f.h + from / 2) * f.wide * f.channels + mine.channel;
#pragma unroll
      for (int s = 0; s < kSize; ++s) {
        const int across = v + f.left - s;
        if (across < 0 || across % 2 != 0 || across / 2 >= f.wide) continue;
        add_product(sum, load4(row + static_cast<int64_t>(across / 2) * f.channels),
                    load4(&weights[(r * kSize + s) * kBlockChannels + mine.in_block]));
      }
    }
    store4(f.y + pixel * f.channels + mine.channel, sum);
  }
}

// A thread adds up all taps of one channel over some strips, then a block over its threads; parts
// are added up in order afterwards. y is dy here.
template <class T>
struct FilterGradient {
  const T* x;
  const T* dy;
  float* partial;  // [parts, channels, taps]
  int64_t strips;
  int h, wide, ho, wo, channels;
  int top, left;
  int block_channels, lanes;
};

template <class T, int kSize, int kStride>
__global__ __launch_bounds__(kThreads) void weight_gradient_kernel(FilterGradient<T> f) {
  MOST_THREADS(kThreads);
  SHARED(partial, float[kThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int channel = static_cast<int>(blockIdx.y) * f.block_channels + thread % f.block_channels;
  const int lane = thread / f.block_channels;
  const bool active = lane < f.lanes && channel < f.channels;
  const int per_line = (f.wo + kStrip - 1) / kStrip;
  float sums[kSize * kSize] = {};
  for (int64_t strip = static_cast<int64_t>(blockIdx.x) * f.lanes + lane;
       active && strip < f.strips; strip += static_cast<int64_t>(gridDim.x) * f.lanes) {
    const int64_t line = strip / per_line;
    const int j = static_cast<int>(strip % per_line) * kStrip;
    const int64_t image = line / f.ho;
    const int i = static_cast<int>(line % f.ho);
    float d[kStrip];
#pragma unroll
    for (int t = 0; t < kStrip; ++t)
      d[t] = j + t < f.wo ? float(f.dy[(line * f.wo + j + t) * f.channels + channel]) : 0.0F;
#pragma unroll
    for (int r = 0; r < kSize; ++r) {
      const int h = i * kStride + r - f.top;
      if (h < 0 || h >= f.h) continue;
      const T* row = f.x + (image * f.h + h) * f.wide * f.channels + channel;
      float window[(kStrip - 1) * kStride + kSize];
#pragma unroll
      for (int q = 0; q < (kStrip - 1) * kStride + kSize; ++q) {
        const int v = j * kStride + q - f.left;
        window[q] = v >= 0 && v < f.wide ? float(row[static_cast<int64_t>(v) * f.channels]) : 0.0F;
      }
#pragma unroll
      for (int s = 0; s < kSize; ++s)
#pragma unroll
        for (int t = 0; t < kStrip; ++t) sums[r * kSize + s] += d[t] * window[t * kStride + s];
    }
  }
#pragma unroll
  for (int tap = 0; tap < kSize * kSize; ++tap) {
    __syncthreads();
    partial[thread] = sums[tap];
    __syncthreads();
    if (!active || lane > 0) continue;
    float sum = partial[thread];
    for (int other = 1; other < f.lanes; ++other) sum += partial[other * f.block_channels + thread];
    f.partial[(static_cast<int64_t>(blockIdx.x) * f.channels + channel) * kSize * kSize + tap] =
        sum;
  }
}

// `channels`, a multiple of `unit`, dealt evenly to as few blocks as hold `most` each.
int64_t channels_of_block(int64_t channels, int64_t most, int64_t unit) {
  const int64_t blocks = (channels + most - 1) / most;
  return (channels / unit + blocks - 1) / blocks * unit;
}

// Calls f with the filter's size and the stride as constants.
template <class F>
void with_size(const ConvShape& s, F&& f) {
  const auto with_stride = [&]<int kSize>(std::integral_constant<int, kSize> size) {
    if (s.stride == 1)
      f(size, std::integral_constant<int, 1>());
    else
      f(size, std::integral_constant<int, 2>());
  };
  if (s.kh == 3)
    with_stride(std::integral_constant<int, 3>());
  else
    with_stride(std::integral_constant<int, 5>());
}

// The forward pass, whose work is not dealt yet.
template <class T>
Filter<T> filter_of(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    Tensor& y) {
  return {.x = x.device_data<T>(),
          .w = w.device_data<float>(),
          .bias = data_or_null(bias),
          .y = y.mutable_device_data<T>(),
          .strips = 0,
          .h = static_cast<int>(s.h),
          .wide = static_cast<int>(s.w),
          .ho = static_cast<int>(s.ho),
          .wo = static_cast<int>(s.wo),
          .channels = static_cast<int>(s.c_in),
          .top = static_cast<int>(s.top),
          .left = static_cast<int>(s.left),
          .turned = false,
          .block_channels = 0,
          .lanes = 0};
}

// Deals channels and `work`, a number per channel, to blocks.
template <class T>
Grid deal(Filter<T>& f, int64_t work) {
  f.strips = work;
  f.block_channels = static_cast<int>(channels_of_block(f.channels, kBlockChannels, 4));
  f.lanes = kThreads / (f.block_channels / 4);
  const unsigned columns = blocks_for(f.channels, f.block_channels);
  const int64_t rows = std::min<int64_t>(blocks_for(work, f.lanes), kMaxBlocks / columns + 1);
  return {.blocks = dim3(static_cast<unsigned>(rows), columns), .threads = kThreads};
}

int64_t strips_of(int64_t lines, int64_t columns) {
  return lines * ((columns + kStrip - 1) / kStrip);
}

}  // namespace

bool takes(const ConvShape& s, const Tensor& x, const Tensor& y) {
  const auto in_fours = [](const Tensor& t) {
    return with_stored_type(
        t.dtype(), [&]<class T>() { return is_aligned(t.device_data<T>(), 4 * sizeof(T)); });
  };
  return in_fours(x) && in_fours(y) && s.groups == s.c_in && s.groups == s.c_out &&
         s.groups % 4 == 0 && s.kh == s.kw && (s.kh == 3 || s.kh == 5) && s.stride <= 2 &&
         s.dilation == 1;
}

void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y) {
  with_stored_type(x.dtype(), [&]<class T>() {
    Filter<T> f = filter_of<T>(s, x, w, bias, y);
    const Grid grid = deal(f, strips_of(s.n * s.ho, s.wo));
    with_size(s, [&](auto size, auto stride) {
      launch("conv2d", strip_kernel<T, size(), stride()>, grid, f);
    });
  });
}

void input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                    Tensor& dx) {
  with_stored_type(dy.dtype(), [&]<class T>() {
    Filter<T> f = filter_of<T>(s, dy, w, bias, dx);
    std::swap(f.h, f.ho);
    std::swap(f.wide, f.wo);
    if (s.stride == 1) {  // the forward pass of the filters turned round
      f.turned = true;
      f.top = static_cast<int>(s.kh - 1 - s.top);
      f.left = static_cast<int>(s.kw - 1 - s.left);
    }
    const Grid grid = deal(f, s.stride == 1 ? strips_of(s.n * s.h, s.w) : s.n * s.h * s.w);
    with_size(s, [&](auto size, auto stride) {
      if constexpr (stride() == 1)
        launch("conv2d, input gradient", strip_kernel<T, size(), 1>, grid, f);
      else
        launch("conv2d, input gradient", stride2_gradient_kernel<T, size()>, grid, f);
    });
  });
}

void weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  with_stored_type(x.dtype(), [&]<class T>() {
    FilterGradient<T> f = {
        .x = x.device_data<T>(),
        .dy = dy.device_data<T>(),
        .partial = nullptr,
        .strips = strips_of(s.n * s.ho, s.wo),
        .h = static_cast<int>(s.h),
        .wide = static_cast<int>(s.w),
        .ho = static_cast<int>(s.ho),
        .wo = static_cast<int>(s.wo),
        .channels = static_cast<int>(s.c_in),
        .top = static_cast<int>(s.top),
        .left = static_cast<int>(s.left),
        .block_channels = static_cast<int>(channels_of_block(s.c_in, kWarp, 1)),
        .lanes = 0,
    };
    constexpr int64_t kMinStrips = 8;  // of a thread, so that adding up dwarfs writing
    f.lanes = kThreads / f.block_channels;
    const unsigned columns = blocks_for(f.channels, f.block_channels);
    const int64_t parts =
        std::min<int64_t>(blocks_for(f.strips, kMinStrips * f.lanes), kMaxBlocks / columns + 1);
    Tensor partial({parts, dw.size()}, DType::f32, Device::cuda);
    f.partial = partial.mutable_device_data<float>();
    const Grid grid = {.blocks = dim3(static_cast<unsigned>(parts), columns), .threads = kThreads};
    with_size(s, [&](auto size, auto stride) {
      launch("conv2d, weight gradient", weight_gradient_kernel<T, size(), stride()>, grid, f);
    });
    sum_parts("conv2d, weight gradient", partial, {}, dw);
  });
}

}  // namespace decant::cuda::depthwise
