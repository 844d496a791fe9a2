#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/autograd/trace.h"
#include "engine/core/tensor.h"

namespace decant {

/// What a profile is told of a step; no op where one is run as traced, which tells of itself.
struct PlannedWork {
  const OpInfo* op = nullptr;
  std::string_view algorithm = {};
  int64_t multiply_adds = 0;  ///< of one image
};

/// The forward pass of a network that learns no more, with everything decided beforehand: batch
/// norm in the filters, the filters laid out as the kernels read them, activations and residuals
/// applied while results are in the cache, no graph. On the CPU, in float32.
///
///   Trace trace;                                    // of one image [1, H, W, C]
///   const Variable y = network(x);
///   const InferencePlan plan(trace, x.id(), {y.id()});
///   const Tensor masks = plan.run(images)[0];       // of any number of images
///
/// The plan copies what it needs of the parameters: it answers as the network did when the plan was
/// made, until is_current() says that they were written to since. Results differ from the traced
/// ones by rounding: the sums are ordered otherwise, but in the same way for any number of images
/// and threads.
class InferencePlan {
 public:
  /// `trace` begins with the value `input` and makes the values `outputs`.
  /// Throws Error naming an op that plans do not know (see knows_all), or a trace of several
  /// images, of another type or another device.
  InferencePlan(const Trace& trace, uint64_t input, const std::vector<uint64_t>& outputs);

  /// images [N, H, W, C], H, W and C as traced -> the outputs, in their order. A few images are
  /// worked on at a time: the memory of maps between does not grow with N.
  /// Throws Error for images of another shape. May be called from several threads at once.
  std::vector<Tensor> run(const Tensor& images) const;

  /// Whether parameters and running moments are what they were when the plan was made.
  bool is_current() const;

  /// Whether a plan can be made: every op of the trace is known here.
  static bool knows_all(const Trace& trace);

 private:
  using Values = std::span<const Tensor>;

  struct Step {
    std::function<Tensor(Values inputs)> run;
    std::vector<size_t> inputs;  // places in the list of values
    size_t output;
    std::vector<size_t> dead;  // nobody reads them after this step: their memory is free
    PlannedWork planned;
  };

  void free_early(size_t values);
  std::vector<Tensor> run_together(const Tensor& images) const;

  struct Source {
    Tensor tensor;
    uint64_t version;
  };

  Shape image_;
  std::vector<Source> sources_;    // what the plan was made from
  std::vector<Tensor> constants_;  // the values before the first step; undefined ones are made
  std::vector<Step> steps_;
  std::vector<size_t> outputs_;
};

}  // namespace decant
