// One thread per element.
#include "engine/cuda/kernel.cuh"
#include "engine/ops/pointwise_kernels.h"

namespace decant::cuda {
namespace {

template <class Op>
__global__ void forward_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) y[i] = Op::f(x[i]);
}

template <class Op>
__global__ void backward_kernel(const float* __restrict__ kept, const float* __restrict__ dy,
                                float* __restrict__ dx, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) dx[i] = dy[i] * Op::df(kept[i]);
}

}  // namespace

template <class Op>
void map_forward(const Tensor& x, Tensor& y) {
  launch(Op::kName.data(), forward_kernel<Op>, grid_over(x.size()), x.device_data<float>(),
         y.mutable_device_data<float>(), x.size());
}

template <class Op>
void map_backward(const Tensor& kept, const Tensor& dy, Tensor& dx) {
  launch(Op::kName.data(), backward_kernel<Op>, grid_over(dx.size()), kept.device_data<float>(),
         dy.device_data<float>(), dx.mutable_device_data<float>(), dx.size());
}

#define DECANT_INSTANTIATE(function, Op)                            \
  template void map_forward<pointwise::Op>(const Tensor&, Tensor&); \
  template void map_backward<pointwise::Op>(const Tensor&, const Tensor&, Tensor&);
DECANT_POINTWISE_OPS(DECANT_INSTANTIATE)
#undef DECANT_INSTANTIATE

}  // namespace decant::cuda
