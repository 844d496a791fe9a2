#pragma once

#include <chrono>
#include <vector>

#include "engine/autograd/op_info.h"
#include "engine/core/shape.h"

namespace decant {

/// Times every op that runs on this thread during its lifetime, forward and backward. Forward, an
/// op's time reaches from the end of the op before it, so that nothing between them is lost; its
/// backward pass includes the adding up of gradients. What a promise (Tensor::promised) takes to be
/// made is booked on whoever reads it. Only where the host computes: what a card has
/// been given to do takes no time here. Profiles do not nest: beginning a second one is an Error.
class Profile {
 public:
  using Clock = std::chrono::steady_clock;

  struct Row {
    const OpInfo* op;
    bool backward;
    std::vector<Shape> inputs;  ///< [] for an absent one
    double seconds;
  };

  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  const std::vector<Row>& rows() const { return rows_; }

  /// The profile of this thread, or nullptr.
  static Profile* active();

  /// What has passed since the end of the row before belongs to this one.
  void add(const OpInfo& op, bool backward, std::vector<Shape> inputs);
  /// What has passed belongs to none.
  void skip() { last_ = Clock::now(); }

 private:
  std::vector<Row> rows_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace decant
