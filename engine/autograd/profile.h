#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
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
    std::vector<Shape> inputs;   ///< [] for an absent one
    int64_t bytes;               ///< that it reads and writes, each once, were all in memory
    std::string algorithm = {};  ///< that made it, where an op has several (see note)
    int64_t multiply_adds = 0;   ///< of products; the direct sum's, whatever made it
    double seconds = 0;
  };

  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  const std::vector<Row>& rows() const { return rows_; }

  /// The profile of this thread, or nullptr.
  static Profile* active();

  /// What has passed since the end of the row before, and what was noted, belongs to this one.
  void add(Row row);
  /// Of the op that runs on this thread, for its row, where there is a profile: how it computes,
  /// and how much. An op that computes in several ways notes each.
  static void note(std::string_view algorithm, int64_t multiply_adds);
  /// What has passed belongs to none.
  void skip() { last_ = Clock::now(); }

 private:
  std::vector<Row> rows_;
  std::string algorithm_;
  int64_t multiply_adds_ = 0;
  Clock::time_point last_ = Clock::now();
};

}  // namespace decant
