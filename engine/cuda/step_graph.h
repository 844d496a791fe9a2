#pragma once

#include <functional>
#include <memory>

namespace decant::cuda {

/// One training step, recorded once and then replayed by the device without the host's part:
///   StepGraph graph;
///   for (...) { inputs.copy_from(batch); graph.run([&] { step(inputs); }); }
/// The first call runs `step` as it is, so that whatever happens once (kernels loaded, algorithms
/// chosen, moments allocated) has happened; the second records it without running it, and runs the
/// record; later ones run the record and never call `step`.
///
/// A graph belongs to one shape signature, and repeats its launches with the arguments that they
/// had: what changes from step to step (inputs, learning rate, step count, random counters) must be
/// read from device memory that stays where it is. Its memory is its own until it is destroyed:
/// what `step` leaves behind (a loss, say) is overwritten by the next replay and by nothing else.
/// While it records, reading from the device, or uploading to it, throws Error; the graph is then
/// as if it had not been recorded. Environment DECANT_STEP_GRAPH=0 turns recording off: every call
/// runs `step` as it is.
class StepGraph {
 public:
  StepGraph();
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  void run(const std::function<void()>& step);
  /// Whether the next run() replays.
  bool recorded() const;

 private:
  struct Record;
  std::unique_ptr<Record> record_;
  bool warm_ = false;
};

}  // namespace decant::cuda
