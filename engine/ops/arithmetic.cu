// One thread per element, or per 16 bytes of neighbours where all operands are aligned: one element
// written for one read of either operand, whose bytes bound it.
#include "engine/cuda/map.cuh"
#include "engine/ops/arithmetic_kernels.h"

namespace decant::cuda {
namespace {

// kWidth neighbours, or one value for all of them.
template <int kWidth, class T>
__device__ Floats<kWidth> load_operand(const T* data, int64_t step) {
  if (step != 0) return load<kWidth>(data);
  Floats<kWidth> same;
  for (float& value : same.at) value = static_cast<float>(*data);
  return same;
}

template <class F, int kWidth, class T>
__global__ void map_pair_kernel(const T* __restrict__ a, const T* __restrict__ b, PairWalk walk,
                                T* __restrict__ y, int64_t n) {
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

struct ScaleAdd {
  float factor, c;
  __device__ float operator()(int64_t /*i*/, float x) const { return factor * x + c; }
};

}  // namespace

template <class F>
void map_pair(const Tensor& a, const Tensor& b, const PairWalk& walk, Tensor& y) {
  // Where the fastest axis is a multiple of the width, so is every distance along a slower one of
  // an operand that moves along the fastest.
  with_stored_type(y.dtype(), [&]<class T>() {
    const T* first = a.device_data<T>();
    const T* second = b.device_data<T>();
    T* out = y.mutable_device_data<T>();
    with_width<T>({walk.inner().extent}, {first, second, out}, [&]<int kWidth>() {
      launch("arithmetic", map_pair_kernel<F, kWidth, T>, grid_over(y.size() / kWidth), first,
             second, walk, out, y.size());
    });
  });
}

template void map_pair<pairwise::Add>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);
template void map_pair<pairwise::Subtract>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);
template void map_pair<pairwise::Multiply>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);
template void map_pair<pairwise::Divide>(const Tensor&, const Tensor&, const PairWalk&, Tensor&);

void scale_add(const Tensor& x, double factor, double c, Tensor& y) {
  map_tensors("scale", ScaleAdd{static_cast<float>(factor), static_cast<float>(c)}, y, x);
}

}  // namespace decant::cuda
