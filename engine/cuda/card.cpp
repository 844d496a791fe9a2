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

size_t most_shared_bytes() {
  const auto ask = [] {
    int bytes = 0;
    ensure(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "cuda");
    return static_cast<size_t>(bytes);
  };
#ifdef DECANT_EMULATED  // where tests set it
  return ask();
#else
  static const size_t bytes = ask();
  return bytes;
#endif
}

}  // namespace decant::cuda
