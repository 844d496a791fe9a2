// What tensors and the backward pass do themselves (see core/cuda_memory.h). One thread per
// element.
#include "engine/core/cuda_memory.h"
#include "engine/cuda/map.cuh"

namespace decant::cuda {
namespace {

template <class T>
__global__ void fill_kernel(T* data, int64_t count, T value) {
  for (int64_t i = global_thread(); i < count; i += all_threads()) data[i] = value;
}

struct Add {
  __device__ float operator()(int64_t /*i*/, float a, float b) const { return a + b; }
};

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

void add(void* sum, const void* term, int64_t count, DType dtype) {
  with_stored_type(dtype, [&]<class T>() {
    T* into = static_cast<T*>(sum);
    cuda::map_elements("accumulate", cuda::Add(), count, into, static_cast<const T*>(into),
                       static_cast<const T*>(term));
  });
}

void round(void* to, const void* from, int64_t count) {
  cuda::map_elements("round", cuda::Same(), count, static_cast<bf16*>(to),
                     static_cast<const float*>(from));
}

}  // namespace decant::cuda_memory
