#pragma once

#include <cstdint>

// When the emulated device does what it may do in any order, or at any time. A program whose result
// depends on it lacks a barrier, or a wait.

namespace decant::emulated {

struct Schedule {
  /// In which order blocks, and threads that could go on, do so. 0: as numbered; any other: drawn
  /// from this seed. Environment DECANT_EMULATED_SEED sets the first one.
  uint64_t seed = 0;
  /// Work waits in its stream until somebody synchronizes, which is as late as a card may do it: a
  /// host, or another stream, that reads too early reads poison. Otherwise it is done when queued.
  bool late = false;
};

Schedule schedule();
void set_schedule(const Schedule& schedule);

/// Sets the schedule while it lives.
class AtSchedule {
 public:
  explicit AtSchedule(const Schedule& s) : previous_(schedule()) { set_schedule(s); }
  ~AtSchedule() { set_schedule(previous_); }
  AtSchedule(const AtSchedule&) = delete;
  AtSchedule& operator=(const AtSchedule&) = delete;

  /// Takes liberties: blocks and threads in another order, and everything as late as it may be.
  static Schedule another() { return {.seed = schedule().seed + 1, .late = true}; }

 private:
  Schedule previous_;
};

}  // namespace decant::emulated
