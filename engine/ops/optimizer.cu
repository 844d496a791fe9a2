// The flat buffers: a thread takes four neighbours, with one instruction for each buffer, where all
// begin on 16 bytes, else one element. Memory bounds all of them: adam moves 28 bytes of an
// element, sgd 20, an average 12.
#include <algorithm>
#include <initializer_list>

#include "engine/cuda/map.cuh"
#include "engine/ops/optimizer_kernels.h"

namespace decant::cuda {
namespace {

template <int N>
struct alignas(N * sizeof(float)) Pack {
  float at[N];
};

// Calls f.operator()<N>(begin, packs): first for packs of four, where every buffer begins on 16
// bytes, then for what is left, element by element.
template <class F>
void in_packs(int64_t n, std::initializer_list<const void*> buffers, F&& f) {
  const bool aligned = std::ranges::all_of(buffers, [](const void* buffer) {
    return reinterpret_cast<uintptr_t>(buffer) % sizeof(Pack<4>) == 0;
  });
  const int64_t packs = aligned ? n / 4 : 0;
  f.template operator()<4>(int64_t{0}, packs);
  f.template operator()<1>(4 * packs, n - 4 * packs);
}

template <int N>
Pack<N>* packs_at(float* data, int64_t begin) {
  return data == nullptr ? nullptr : reinterpret_cast<Pack<N>*>(data + begin);
}
template <int N>
const Pack<N>* packs_at(const float* data, int64_t begin) {
  return reinterpret_cast<const Pack<N>*>(data + begin);
}

// momentum: nullptr where there is none
template <int N>
__global__ void sgd_elements(SgdRule<float> rule, const SgdRule<float>::Now* __restrict__ numbers,
                             Pack<N>* __restrict__ values, const Pack<N>* __restrict__ gradients,
                             Pack<N>* __restrict__ momentum, int64_t n) {
  const SgdRule<float>::Now now = *numbers;
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    Pack<N> w = values[i];
    const Pack<N> dw = gradients[i];
    Pack<N> m = {};
    if (momentum != nullptr) m = momentum[i];
#pragma unroll
    for (int k = 0; k < N; ++k) rule(now, w.at[k], dw.at[k], m.at[k]);
    values[i] = w;
    if (momentum != nullptr) momentum[i] = m;
  }
}

template <int N>
__global__ void adam_elements(AdamRule<float> rule,
                              const AdamRule<float>::Now* __restrict__ numbers,
                              Pack<N>* __restrict__ values, const Pack<N>* __restrict__ gradients,
                              Pack<N>* __restrict__ first, Pack<N>* __restrict__ second,
                              int64_t n) {
  const AdamRule<float>::Now now = *numbers;
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    Pack<N> w = values[i];
    const Pack<N> dw = gradients[i];
    Pack<N> m = first[i];
    Pack<N> v = second[i];
#pragma unroll
    for (int k = 0; k < N; ++k) rule(now, w.at[k], dw.at[k], m.at[k], v.at[k]);
    values[i] = w;
    first[i] = m;
    second[i] = v;
  }
}

template <int N>
__global__ void ema_elements(EmaRule<float> rule, const EmaRule<float>::Now* __restrict__ numbers,
                             Pack<N>* __restrict__ average, const Pack<N>* __restrict__ values,
                             int64_t n) {
  const EmaRule<float>::Now now = *numbers;
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    Pack<N> a = average[i];
    const Pack<N> w = values[i];
#pragma unroll
    for (int k = 0; k < N; ++k) rule(now, a.at[k], w.at[k]);
    average[i] = a;
  }
}

// One sum per block.
template <int N>
__global__ void square_parts(const Pack<N>* __restrict__ x, int64_t n, float* __restrict__ parts) {
  float sum = 0.0F;
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const Pack<N> value = x[i];
#pragma unroll
    for (int k = 0; k < N; ++k) sum += value.at[k] * value.at[k];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void sum_parts(const float* __restrict__ parts, int64_t count, float* __restrict__ out) {
  float sum = 0.0F;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *out = sum;
}

__global__ void root_kernel(const float* __restrict__ x, float* __restrict__ y) {
  *y = sqrtf(*x);
}

// Where nothing is to be clipped, nothing is moved.
template <int N>
__global__ void clip_elements(Pack<N>* __restrict__ x, const float* __restrict__ norm, float limit,
                              int64_t n) {
  const float factor = limit / (*norm + 1e-6F);
  if (!(factor < 1.0F)) return;
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    Pack<N> value = x[i];
#pragma unroll
    for (int k = 0; k < N; ++k) value.at[k] *= factor;
    x[i] = value;
  }
}

struct Scale {
  float factor;
  __device__ float operator()(int64_t /*i*/, float x) const { return x * factor; }
};

// As Rule::Now.
template <class Rule>
const typename Rule::Now* numbers_of(const char* op, const Tensor& now) {
  constexpr auto kNumbers = static_cast<int64_t>(sizeof(typename Rule::Now) / sizeof(float));
  check(now.size() == kNumbers, op, ": expected ", kNumbers, " step numbers, got ", now.shape());
  return reinterpret_cast<const typename Rule::Now*>(now.device_data<float>());
}

}  // namespace

void sgd_kernel(Tensor& values, const Tensor& gradients, Tensor& momentum,
                const SgdOptions& options, bool first_step, const Tensor& now) {
  using Rule = SgdRule<float>;
  const Tensor numbers = now.defined() ? now : step_numbers(options, first_step).to(Device::cuda);
  float* w = values.mutable_device_data<float>();
  const float* dw = gradients.device_data<float>();
  float* m = options.momentum == 0 ? nullptr : momentum.mutable_device_data<float>();
  in_packs(values.size(), {w, dw, m}, [&]<int N>(int64_t begin, int64_t packs) {
    launch("sgd_step", sgd_elements<N>, grid_over(packs), Rule(options),
           numbers_of<Rule>("sgd_step", numbers), packs_at<N>(w, begin), packs_at<N>(dw, begin),
           packs_at<N>(m, begin), packs);
  });
}

void adam_kernel(Tensor& values, const Tensor& gradients, Tensor& first, Tensor& second,
                 const AdamOptions& options, const Tensor& now) {
  using Rule = AdamRule<float>;
  const Tensor numbers = now.defined() ? now : step_numbers(options).to(Device::cuda);
  float* w = values.mutable_device_data<float>();
  const float* dw = gradients.device_data<float>();
  float* m = first.mutable_device_data<float>();
  float* v = second.mutable_device_data<float>();
  in_packs(values.size(), {w, dw, m, v}, [&]<int N>(int64_t begin, int64_t packs) {
    launch("adam_step", adam_elements<N>, grid_over(packs), Rule(options),
           numbers_of<Rule>("adam_step", numbers), packs_at<N>(w, begin), packs_at<N>(dw, begin),
           packs_at<N>(m, begin), packs_at<N>(v, begin), packs);
  });
}

void ema_kernel(Tensor& average, const Tensor& values, double decay, const Tensor& now) {
  using Rule = EmaRule<float>;
  const Tensor numbers = now.defined() ? now : step_numbers(decay).to(Device::cuda);
  float* a = average.mutable_device_data<float>();
  const float* w = values.device_data<float>();
  in_packs(average.size(), {a, w}, [&]<int N>(int64_t begin, int64_t packs) {
    launch("ema_update", ema_elements<N>, grid_over(packs), Rule(),
           numbers_of<Rule>("ema_update", numbers), packs_at<N>(a, begin), packs_at<N>(w, begin),
           packs);
  });
}

Tensor square_sum(std::span<const Tensor> tensors) {
  constexpr int64_t kBlocks = 512;  // at most, of each launch
  const auto blocks_of = [](int64_t packs) {
    Grid grid = grid_over(packs);
    grid.blocks.x = std::min(grid.blocks.x, static_cast<unsigned>(kBlocks));
    return grid;
  };
  Tensor parts({2 * kBlocks * std::max<int64_t>(1, static_cast<int64_t>(tensors.size()))},
               DType::f32, Device::cuda);
  float* all = parts.mutable_device_data<float>();
  int64_t count = 0;
  for (const Tensor& tensor : tensors) {
    const float* x = tensor.device_data<float>();
    in_packs(tensor.size(), {x}, [&]<int N>(int64_t begin, int64_t packs) {
      const Grid grid = blocks_of(packs);
      launch("squared_norm", square_parts<N>, grid, packs_at<N>(x, begin), packs, all + count);
      count += grid.blocks.x;
    });
  }
  Tensor sum({}, DType::f32, Device::cuda);
  launch("squared_norm", sum_parts, {.threads = 512}, static_cast<const float*>(all), count,
         sum.mutable_device_data<float>());
  return sum;
}

Tensor clip_kernel(std::span<const Tensor> tensors, double limit) {
  const Tensor square = square_sum(tensors);
  Tensor norm({}, DType::f32, Device::cuda);
  launch("clip_norm", root_kernel, {}, square.device_data<float>(),
         norm.mutable_device_data<float>());
  if (limit == 0) return norm;
  for (Tensor tensor : tensors) {
    float* x = tensor.mutable_device_data<float>();
    in_packs(tensor.size(), {x}, [&]<int N>(int64_t begin, int64_t packs) {
      launch("clip_norm", clip_elements<N>, grid_over(packs), packs_at<N>(x, begin),
             norm.device_data<float>(), static_cast<float>(limit), packs);
    });
  }
  return norm;
}

void scale_kernel(Tensor& x, double factor) {
  map_tensors("scale_in_place", Scale{static_cast<float>(factor)}, x, Tensor(x));
}

}  // namespace decant::cuda
