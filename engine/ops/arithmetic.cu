// One thread per element, or per four neighbours where all operands are aligned: 4 bytes written
// per element and 4 read per element of the operands, which is what bounds it.
#include "engine/cuda/kernel.cuh"
#include "engine/ops/arithmetic_kernels.h"
#include "engine/ops/vectors.cuh"

namespace decant::cuda {
namespace {

// kWidth neighbours, or one value for all of them.
template <int kWidth>
__device__ Floats<kWidth> load_operand(const float* data, int64_t step) {
  if (step != 0) return load<kWidth>(data);
  Floats<kWidth> same;
  for (float& value : same.at) value = *data;
  return same;
}

template <class F, int kWidth>
__global__ void map_pair_kernel(const float* __restrict__ a, const float* __restrict__ b,
                                PairWalk walk, float* __restrict__ y, int64_t n) {
  for (int64_t i = global_thread() * kWidth; i < n; i += all_threads() * kWidth) {
    const PairWalk::Offsets at = walk.at(i);
    const Floats<kWidth> p = load_operand<kWidth>(a + at.first, walk.axes[0].first);
    const Floats<kWidth> q = load_operand<kWidth>(b + at.second, walk.axes[0].second);
    Floats<kWidth> result;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) result.at[k] = F::f(p.at[k], q.at[k]);
    store(y + i, result);
  }
}

__global__ void scale_add_kernel(const float* __restrict__ x, float factor, float c,
                                 float* __restrict__ y, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) y[i] = factor * x[i] + c;
}

}  // namespace

template <class F>
void map_pair(const Tensor& a, const Tensor& b, const PairWalk& walk, Tensor& y) {
  const float* first = a.device_data<float>();
  const float* second = b.device_data<float>();
  float* out = y.mutable_device_data<float>();
  // Where the fastest axis is a multiple of 4, so is every distance along a slower one of an
  // operand that moves along the fastest.
  with_width(in_fours({walk.inner().extent}, {first, second, out}), [&]<int kWidth>() {
    launch("arithmetic", map_pair_kernel<F, kWidth>, grid_over(y.size() / kWidth), first, second,
           walk, out, y.size());
  });
}

template void map_pair<pairwise::Add>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);
template void map_pair<pairwise::Subtract>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);
template void map_pair<pairwise::Multiply>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);
template void map_pair<pairwise::Divide>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);

void scale_add(const Tensor& x, double factor, double c, Tensor& y) {
  launch("scale", scale_add_kernel, grid_over(x.size()), x.device_data<float>(),
         static_cast<float>(factor), static_cast<float>(c), y.mutable_device_data<float>(),
         x.size());
}

}  // namespace decant::cuda
