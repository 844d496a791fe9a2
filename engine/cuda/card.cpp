#include "engine/cuda/card.h"

#include "engine/core/error.h"
#include "engine/cuda/check.h"

namespace decant::cuda {

Card card() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) cudaGetLastError();
  check(status == cudaSuccess && devices > 0, "cuda: no CUDA device found",
        status == cudaSuccess ? "" : ": ", status == cudaSuccess ? "" : cudaGetErrorString(status));
  cudaDeviceProp properties;
  ensure(cudaGetDeviceProperties(&properties, 0), "cuda");
  return {.name = properties.name,
          .multiprocessors = properties.multiProcessorCount,
          .major = properties.major,
          .minor = properties.minor,
          .memory_bytes = properties.totalGlobalMem};
}

}  // namespace decant::cuda
