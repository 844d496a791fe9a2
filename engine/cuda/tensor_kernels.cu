// What tensors and the backward pass do themselves (see core/cuda_memory.h). One thread per
// element.
#include "engine/core/cuda_memory.h"
#include "engine/cuda/kernel.cuh"

namespace decant::cuda {
namespace {

template <class T>
__global__ void fill_kernel(T* data, int64_t count, T value) {
  for (int64_t i = global_thread(); i < count; i += all_threads()) data[i] = value;
}

__global__ void add_kernel(float* __restrict__ sum, const float* __restrict__ term, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += all_threads()) sum[i] += term[i];
}

}  // namespace
}  // namespace decant::cuda

namespace decant::cuda_memory {

void fill(void* data, int64_t count, DType dtype, double value) {
  with_type(dtype, [&]<class T>() {
    if constexpr (!std::is_same_v<T, double>)  // which lies on the CPU only
      cuda::launch("fill", cuda::fill_kernel<T>, cuda::grid_over(count), static_cast<T*>(data),
                   count, static_cast<T>(value));
  });
}

void add(float* sum, const float* term, int64_t count) {
  cuda::launch("accumulate", cuda::add_kernel, cuda::grid_over(count), sum, term, count);
}

}  // namespace decant::cuda_memory
