#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "engine/cuda/emulated/block.h"
#include "engine/cuda/emulated/device.h"

// CUDA's functions, as far as the project calls them. What a real card reports as a status that
// says little (a host pointer, a launch beyond its limits) is an Error with the reason here.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaHostAllocDefault = 0;
constexpr unsigned cudaEventDefault = 0;
constexpr unsigned cudaEventDisableTiming = 2;

struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int multiProcessorCount;
  int major, minor;
};

cudaError_t cudaGetLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();

cudaError_t cudaMalloc(void** start, size_t bytes);
cudaError_t cudaFree(void* start);
cudaError_t cudaHostAlloc(void** start, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* start);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* start, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

namespace decant::emulated {

/// Puts work that a kernel launch or a library call stands for into a stream.
void enqueue(cudaStream_t stream, std::function<void()> work);

/// Checks the limits of a real card and queues the grid.
void enqueue_grid(const void* kernel, Launch launch, cudaStream_t stream);

/// Throws Error if an argument that a kernel gets holds a pointer to host memory: is one, or is a
/// struct with eight aligned bytes that are the address of some.
void check_argument(const char* kernel, size_t index, const void* argument, size_t bytes,
                    bool is_pointer);

/// Zeroes the bytes between a struct's members, where what is left of old values may look like an
/// address. The only byte of a struct without members may be another argument's.
template <class T>
void clear_padding([[maybe_unused]] T& argument) {
#if __has_builtin(__builtin_clear_padding)
  if constexpr (!std::is_empty_v<T>) __builtin_clear_padding(&argument);
#endif
}

template <class... Parameters, class... Args>
void launch(const char* op, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, cudaStream_t stream, Args&&... args) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "what a kernel gets is copied to the device byte by byte");
  std::tuple<Parameters...> copies(static_cast<Parameters>(args)...);
  size_t index = 0;
  std::apply(
      [&](Parameters&... a) {
        (clear_padding(a), ...);
        (check_argument(op, index++, &a, sizeof(a), std::is_pointer_v<Parameters>), ...);
      },
      copies);
  enqueue_grid(reinterpret_cast<const void*>(kernel),
               {.kernel = op,
                .grid = grid,
                .block = block,
                .shared_bytes = shared_bytes,
                .declared_shared_limit = 0,  // enqueue_grid knows
                .body = [kernel, copies] { std::apply(kernel, copies); }},
               stream);
}

}  // namespace decant::emulated
