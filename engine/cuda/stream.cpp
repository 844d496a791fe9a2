#include "engine/cuda/stream.h"

#include "engine/core/error.h"
#include "engine/cuda/check.h"

namespace decant::cuda {
namespace {

cudaStream_t new_stream() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  ensure(status, "cuda");
  check(devices > 0, "cuda: expected a CUDA device, this machine has none");
  cudaStream_t stream = nullptr;
  ensure(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  return stream;
}

}  // namespace

// Never destroyed: tensors in static storage may be released after they would be.
cudaStream_t compute_stream() {
  static const cudaStream_t stream = new_stream();
  return stream;
}

cudaStream_t copy_stream() {
  static const cudaStream_t stream = new_stream();
  return stream;
}

void synchronize(const char* op) {
  check(!capturing(), op, ": expected no read of the device while a step graph is captured");
  ensure(cudaStreamSynchronize(copy_stream()), op);
  ensure(cudaStreamSynchronize(compute_stream()), op);
}

void sync_if_asked(const Where& op) {
  if (sync_mode() && !capturing()) ensure(cudaStreamSynchronize(compute_stream()), op);
}

Event::Event(Kind kind) {
  const unsigned flags = kind == Kind::timed ? cudaEventDefault : cudaEventDisableTiming;
  ensure(cudaEventCreateWithFlags(&event_, flags), "event");
}

Event::~Event() {
  cudaEventDestroy(event_);
}

void Event::record(cudaStream_t stream) {
  ensure(cudaEventRecord(event_, stream), "event");
}

void Event::wait(cudaStream_t stream) const {
  ensure(cudaStreamWaitEvent(stream, event_, 0), "event");
}

void Event::synchronize() const {
  ensure(cudaEventSynchronize(event_), "event");
}

void Event::synchronize_quietly() const noexcept {
  cudaEventSynchronize(event_);
}

bool Event::reached() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status != cudaErrorNotReady) ensure(status, "event");
  if (status == cudaErrorNotReady) cudaGetLastError();
  return status == cudaSuccess;
}

float Event::milliseconds_since(const Event& start) const {
  float elapsed = 0;
  ensure(cudaEventElapsedTime(&elapsed, start.event_, event_), "event");
  return elapsed;
}

}  // namespace decant::cuda
