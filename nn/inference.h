#pragma once

#include <map>
#include <memory>
#include <utility>

#include "engine/inference/plan.h"
#include "nn/network.h"

namespace decant::nn {

/// A network that only answers, as fast as this machine lets it: by an inference plan for each size
/// of image that it meets (engine/inference/plan.h), the latest few of which are kept. On cuda, in
/// float64, and where an op of the network is none that plans know, by the network's own forward
/// pass. Parameters may change: the next answer is theirs. To be called from one thread at a time.
class Inference {
 public:
  explicit Inference(Network& network) : network_(&network) {}

  /// As Network::forward, of constants. x [N, H, W, C].
  Output forward(const Variable& x);

 private:
  struct Planned {
    std::unique_ptr<InferencePlan> plan;  // null: none can be made
    double hidden_stride;
    double hidden_offset;
  };
  Planned plan(const Shape& x) const;
  const Planned& planned_for(const Shape& x);

  Network* network_;
  std::map<std::pair<int64_t, int64_t>, Planned> plans_;  // by height and width
};

}  // namespace decant::nn
