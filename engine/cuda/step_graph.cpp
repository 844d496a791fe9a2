#include "engine/cuda/step_graph.h"

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "engine/core/cuda_memory.h"
#include "engine/core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/memory_pool.h"
#include "engine/cuda/stream.h"

namespace decant::cuda {
namespace {

thread_local bool is_capturing = false;
std::atomic<uint64_t> memory_epoch = 0;

void set_capturing(bool on) {
  is_capturing = on;
  ++memory_epoch;
}

// A replay cannot wait for each of its kernels, which is what names the op that failed.
bool recording_wanted() {
  const char* value = std::getenv("DECANT_STEP_GRAPH");
  return !sync_mode() && (value == nullptr || std::string_view(value) != "0");
}

// Between its ends the compute stream records. Relaxed, since the allocator may have to ask the
// driver for a block of the graph's own.
class Capture {
 public:
  Capture() {
    check(!is_capturing, "StepGraph: expected no graph inside another's step");
    ensure(cudaStreamBeginCapture(compute_stream(), cudaStreamCaptureModeRelaxed), "StepGraph");
    set_capturing(true);
  }
  // Where the step threw, what was recorded so far is dropped.
  ~Capture() {
    if (!is_capturing) return;
    set_capturing(false);
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(compute_stream(), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraphExec_t end() {
    set_capturing(false);
    cudaGraph_t graph = nullptr;
    ensure(cudaStreamEndCapture(compute_stream(), &graph), "StepGraph");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    ensure(status, "StepGraph");
    return executable;
  }
};

}  // namespace

bool capturing() {
  return is_capturing;
}

struct StepGraph::Record {
  MemoryPool pool;
  cudaGraphExec_t executable = nullptr;

  Record() = default;
  ~Record() {
    // The pool's blocks go back to the driver, which waits for what is queued.
    if (executable != nullptr) cudaGraphExecDestroy(executable);
  }
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;
};

StepGraph::StepGraph() = default;
StepGraph::~StepGraph() = default;

bool StepGraph::recorded() const {
  return record_ != nullptr;
}

void StepGraph::run(const std::function<void()>& step) {
  if (record_ == nullptr && (!warm_ || !recording_wanted())) {
    step();
    warm_ = true;
    return;
  }
  if (record_ == nullptr) {
    auto record = std::make_unique<Record>();
    cuda_memory::release_cache();  // of the eager run: the graph takes as much for its own
    {
      Capture capture;
      const PoolScope memory(record->pool);
      step();
      record->executable = capture.end();
    }
    record_ = std::move(record);
  }
  ensure(cudaGraphLaunch(record_->executable, compute_stream()), "StepGraph");
  ++memory_epoch;
}

}  // namespace decant::cuda

uint64_t decant::cuda_memory::epoch() {
  return decant::cuda::memory_epoch;
}
