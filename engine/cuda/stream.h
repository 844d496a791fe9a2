#pragma once

#include <cuda_runtime.h>

#include "engine/cuda/check.h"

namespace decant::cuda {

/// Where all kernels run, one after the other, and with them the allocator's promise that a block
/// given back may be handed out again. Never the default stream, which would wait for all others.
/// One host thread at a time queues work here: while it records a step graph, another thread's
/// would become part of it.
cudaStream_t compute_stream();
/// For copies that run beside kernels. Order it against the compute stream with events.
cudaStream_t copy_stream();

/// Waits until the device has done all that was queued. Throws Error naming `op` while a step graph
/// is captured.
void synchronize(const char* op);

/// What queues work ends with this: it waits for the compute stream where sync_mode() says so.
void sync_if_asked(const Where& op);

/// A point in a stream that other streams, or the host, can wait for.
///   Event uploaded;
///   uploaded.record(copy_stream());
///   uploaded.wait(compute_stream());   // kernels queued from here on see the copy
class Event {
 public:
  /// Only two that are timed tell how much later one is; they cost more to record.
  enum class Kind : unsigned char { untimed, timed };

  explicit Event(Kind kind = Kind::untimed);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream);
  /// Work queued on `stream` from here on begins after the recorded point.
  void wait(cudaStream_t stream) const;
  /// The host waits.
  void synchronize() const;
  /// The same for destructors: a device that has failed is named by whatever is asked of it next.
  void synchronize_quietly() const noexcept;
  /// Whether the recorded point is reached; also where none is.
  bool reached() const;
  /// Milliseconds from `start` to this; both timed, recorded and reached.
  float milliseconds_since(const Event& start) const;

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace decant::cuda
