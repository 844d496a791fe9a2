#include "engine/cuda/arrivals.h"

#include "engine/cuda/check.h"
#include "engine/cuda/stream.h"

namespace decant::cuda {

// Cleared on the copy stream, and waited for: on the compute stream a graph that is being recorded
// would do it, with every replay. Never destroyed, as the streams.
unsigned* arrival_counters() {
  static unsigned* const counters = [] {
    constexpr size_t kBytes = kArrivalCounters * sizeof(unsigned);
    void* start = nullptr;
    ensure(cudaMalloc(&start, kBytes), "counters");
    ensure(cudaMemsetAsync(start, 0, kBytes, copy_stream()), "counters");
    ensure(cudaStreamSynchronize(copy_stream()), "counters");
    return static_cast<unsigned*>(start);
  }();
  return counters;
}

}  // namespace decant::cuda
