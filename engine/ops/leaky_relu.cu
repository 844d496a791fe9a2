// One thread per element.
#include "engine/cuda/kernel.cuh"
#include "engine/ops/leaky_relu_kernels.h"

namespace decant::cuda {
namespace {

__global__ void select_kernel(const float* __restrict__ x, const float* __restrict__ a, float slope,
                              float* __restrict__ y, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads())
    y[i] = x[i] > 0.0F ? a[i] : slope * a[i];
}

}  // namespace

void leaky_select(const Tensor& x, const Tensor& a, double slope, Tensor& y) {
  launch("leaky_relu", select_kernel, grid_over(x.size()), x.device_data<float>(),
         a.device_data<float>(), static_cast<float>(slope), y.mutable_device_data<float>(),
         x.size());
}

}  // namespace decant::cuda
