#include "engine/cuda/emulated/runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/core/error.h"
#include "engine/cuda/emulated/schedule.h"

using decant::check;
using decant::emulated::device_mutex;
using decant::emulated::Schedule;

namespace {

using Work = std::function<void()>;

}  // namespace

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUstream_st {
  std::deque<Work> queue;
  uint64_t queued = 0;  // ever
  uint64_t done = 0;    // ever
  std::unique_ptr<CUgraph_st> capture;
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  bool timed = true;
  uint64_t ticket = 0;  // reached once the stream has done so much
  std::shared_ptr<std::chrono::steady_clock::time_point> time = {};
};

namespace {

std::vector<cudaStream_t>& streams() {
  static auto* const list = new std::vector<cudaStream_t>;
  return *list;
}

Schedule current_schedule = [] {
  const char* seed = std::getenv("DECANT_EMULATED_SEED");
  return Schedule{.seed = seed == nullptr ? 0 : std::strtoull(seed, nullptr, 10)};
}();
thread_local cudaError_t last_error = cudaSuccess;
std::map<const void*, size_t> shared_limits;  // by kernel, where more than 48 KB were asked for
std::map<const void*, size_t> pinned;         // host memory that copies read late: bytes by start

cudaError_t set_error(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

void check_stream(cudaStream_t stream) {
  check(stream != nullptr, "emulated: expected a stream of the project's own, got the default one");
}

void drain(cudaStream_t stream, uint64_t until) {
  while (stream->done < until && !stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;  // before it runs: what failed is not run again
    work();
  }
}

bool is_pinned(const void* start, size_t bytes) {
  const auto* p = static_cast<const char*>(start);
  const auto after = pinned.upper_bound(start);
  if (after == pinned.begin()) return false;
  const auto& [first, size] = *std::prev(after);
  return p + bytes <= static_cast<const char*>(first) + size;
}

// Whether the host has memory at this address; two sizes in one word hardly ever look like that.
bool is_mapped([[maybe_unused]] const void* address) {
#if defined(__SANITIZE_ADDRESS__)
  return false;  // whose shadow memory lies everywhere
#else
  const auto value = reinterpret_cast<uintptr_t>(address);
  constexpr uintptr_t kPage = 4096;
  return value >> 32U != 0 && value >> 47U == 0 &&
         msync(reinterpret_cast<void*>(value / kPage * kPage), kPage, MS_ASYNC) == 0;
#endif
}

}  // namespace

namespace decant::emulated {

Schedule schedule() {
  const std::scoped_lock lock(device_mutex());
  return current_schedule;
}

void set_schedule(const Schedule& schedule) {
  const std::scoped_lock lock(device_mutex());
  current_schedule = schedule;
}

void enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::scoped_lock lock(device_mutex());
  check_stream(stream);
  if (stream->capture != nullptr) {
    stream->capture->work.push_back(std::move(work));
    return;
  }
  stream->queue.push_back(std::move(work));
  ++stream->queued;
  if (!current_schedule.late) drain(stream, stream->queued);
}

void enqueue_grid(const void* kernel, Launch launch, cudaStream_t stream) {
  const dim3 g = launch.grid;
  const dim3 b = launch.block;
  const uint64_t threads = uint64_t{b.x} * b.y * b.z;
  check(threads >= 1 && threads <= 1024 && b.z <= 64, "kernel ", launch.kernel,
        ": expected a block of 1 to 1024 threads, at most 64 along z, got ", b.x, " x ", b.y, " x ",
        b.z);
  check(g.x >= 1 && g.x <= 0x7FFFFFFF && g.y >= 1 && g.y <= 65535 && g.z >= 1 && g.z <= 65535,
        "kernel ", launch.kernel,
        ": expected a grid of at most 2^31 - 1 x 65535 x 65535 blocks, got ", g.x, " x ", g.y,
        " x ", g.z);
  const std::scoped_lock lock(device_mutex());
  const auto asked = shared_limits.find(kernel);
  constexpr size_t kWithoutAsking = 48 << 10;  // of both kinds; never more of declared arrays
  const bool has_asked = asked != shared_limits.end();
  const size_t limit = has_asked ? asked->second : kWithoutAsking;
  check(launch.shared_bytes <= limit, "kernel ", launch.kernel, ": expected at most ", limit,
        " bytes of dynamic shared memory, got ", launch.shared_bytes);
  // A card refuses to grant what does not fit beside the declared arrays. Those are only known here
  // once the kernel runs.
  launch.declared_shared_limit = has_asked ? std::min(kWithoutAsking, shared_limit() - limit)
                                           : kWithoutAsking - launch.shared_bytes;
  enqueue(stream, [launch = std::move(launch)] {
    run_grid(launch);
    check_forbidden(launch.kernel);
  });
}

void check_argument(const char* kernel, size_t index, const void* argument, size_t bytes,
                    bool is_pointer) {
  for (size_t i = 0; i + sizeof(void*) <= bytes; i += sizeof(void*)) {
    const void* word = nullptr;
    std::memcpy(&word, static_cast<const char*>(argument) + i, sizeof(word));
    if (word == nullptr || is_device(word)) continue;
    check(!is_pointer && !is_mapped(word), "kernel ", kernel, ": argument ", index,
          is_pointer ? " points" : " holds a pointer", " to host memory");
  }
}

}  // namespace decant::emulated

using namespace decant::emulated;

cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
  }
  return "unknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unknown";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int /*device*/) {
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "emulated device");
  properties->totalGlobalMem = total_bytes();
  properties->multiProcessorCount = 4;
  properties->major = 8;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr /*attribute*/, int /*device*/) {
  const std::scoped_lock lock(device_mutex());
  *value = static_cast<int>(shared_limit());
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const std::scoped_lock lock(device_mutex());
  for (const cudaStream_t stream : streams())
    if (const cudaError_t error = cudaStreamSynchronize(stream); error != cudaSuccess) return error;
  return cudaSuccess;
}

// ---- memory -------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** start, size_t bytes) {
  const std::scoped_lock lock(device_mutex());
  *start = allocate(bytes);
  return set_error(*start == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* start) {
  const std::scoped_lock lock(device_mutex());
  if (start == nullptr) return cudaSuccess;
  for (const cudaStream_t stream : streams())
    if (stream->capture == nullptr) drain(stream, stream->queued);
  release(start);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** start, size_t bytes, unsigned /*flags*/) {
  const std::scoped_lock lock(device_mutex());
  *start = std::malloc(bytes);
  if (*start == nullptr) return set_error(cudaErrorMemoryAllocation);
  pinned[*start] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* start) {
  const std::scoped_lock lock(device_mutex());
  pinned.erase(start);
  std::free(start);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::scoped_lock lock(device_mutex());
  *free = free_bytes();
  *total = total_bytes();
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const std::scoped_lock lock(device_mutex());
  check_stream(stream);
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  to_device ? expect_device(to, bytes, "cudaMemcpyAsync, destination")
            : expect_host(to, bytes, "cudaMemcpyAsync, destination");
  from_device ? expect_device(from, bytes, "cudaMemcpyAsync, source")
              : expect_host(from, bytes, "cudaMemcpyAsync, source");
  const bool reads_early = !from_device && !is_pinned(from, bytes);
  if (stream->capture != nullptr && (reads_early || (!to_device && !is_pinned(to, bytes))))
    return set_error(cudaErrorStreamCaptureUnsupported);
  if (reads_early) {  // CUDA copies pageable memory before it returns
    std::vector<char> staged(static_cast<const char*>(from),
                             static_cast<const char*>(from) + bytes);
    enqueue(stream,
            [to, bytes, staged = std::move(staged)] { std::memcpy(to, staged.data(), bytes); });
    return cudaSuccess;
  }
  enqueue(stream, [to, from, bytes] { std::memmove(to, from, bytes); });
  // To pageable memory CUDA returns once the copy is done.
  if (!to_device && !is_pinned(to, bytes)) drain(stream, stream->queued);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* start, int value, size_t bytes, cudaStream_t stream) {
  const std::scoped_lock lock(device_mutex());
  expect_device(start, bytes, "cudaMemsetAsync");
  enqueue(stream, [start, value, bytes] { std::memset(start, value, bytes); });
  return cudaSuccess;
}

// ---- streams and events -------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  const std::scoped_lock lock(device_mutex());
  *stream = new CUstream_st;
  streams().push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::scoped_lock lock(device_mutex());
  drain(stream, stream->queued);
  std::erase(streams(), stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::scoped_lock lock(device_mutex());
  check_stream(stream);
  if (stream->capture != nullptr) return set_error(cudaErrorStreamCaptureUnsupported);
  drain(stream, stream->queued);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  const std::scoped_lock lock(device_mutex());
  if (event->stream == nullptr) return cudaSuccess;
  if (event->stream->capture != nullptr || stream->capture != nullptr)
    return set_error(cudaErrorStreamCaptureUnsupported);
  enqueue(stream, [other = event->stream, ticket = event->ticket] { drain(other, ticket); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{.timed = (flags & cudaEventDisableTiming) == 0};
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::scoped_lock lock(device_mutex());
  event->time = std::make_shared<std::chrono::steady_clock::time_point>();
  enqueue(stream, [time = event->time] { *time = std::chrono::steady_clock::now(); });
  event->stream = stream;
  event->ticket = stream->queued;
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::scoped_lock lock(device_mutex());
  const bool reached = event->stream == nullptr || event->stream->done >= event->ticket;
  return reached ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::scoped_lock lock(device_mutex());
  if (event->stream == nullptr) return cudaSuccess;
  if (event->stream->capture != nullptr) return set_error(cudaErrorStreamCaptureUnsupported);
  drain(event->stream, event->ticket);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const std::scoped_lock lock(device_mutex());
  for (const cudaEvent_t event : {start, end}) {
    if (event->stream == nullptr || !event->timed) return set_error(cudaErrorInvalidValue);
    if (event->stream->done < event->ticket) return set_error(cudaErrorNotReady);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *start->time).count();
  return cudaSuccess;
}

// ---- graphs: the work of a stream, recorded with its arguments
// ------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  const std::scoped_lock lock(device_mutex());
  check_stream(stream);
  if (stream->capture != nullptr) return set_error(cudaErrorInvalidValue);
  drain(stream, stream->queued);
  stream->capture = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::scoped_lock lock(device_mutex());
  if (stream->capture == nullptr) return set_error(cudaErrorInvalidValue);
  *graph = stream->capture.release();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const Work& work : executable->work) enqueue(stream, work);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute /*attribute*/, int value) {
  const std::scoped_lock lock(device_mutex());
  if (value < 0 || static_cast<size_t>(value) > shared_limit())
    return set_error(cudaErrorInvalidValue);
  shared_limits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}
