// One thread per element, which draws its own number: 8 bytes moved and ten rounds of Philox, of
// about equal cost.
#include <cmath>

#include "engine/cuda/kernel.cuh"
#include "engine/ops/dropout_kernels.h"

namespace decant::cuda {
namespace {

// Dropped is what draws less than `least_kept`.
__global__ void drop_elements(const float* __restrict__ x, Rng rng, uint64_t least_kept,
                              float factor, float* __restrict__ y, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads())
    y[i] = rng.bits(static_cast<uint64_t>(i)) < least_kept ? 0.0F : factor * x[i];
}

}  // namespace

void dropout_kernel(const Tensor& x, double p, const RngKey& key, Tensor& y) {
  // bits 2^-32 < p, in whole numbers
  const auto least_kept = static_cast<uint64_t>(std::ceil(p * 0x1p32));
  launch("dropout", drop_elements, grid_over(x.size()), x.device_data<float>(), Rng(key),
         least_kept, static_cast<float>(1 / (1 - p)), y.mutable_device_data<float>(), x.size());
}

}  // namespace decant::cuda
