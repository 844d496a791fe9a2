#pragma once

#include <cstddef>
#include <cstdint>

namespace decant {

struct MemoryStatistics {
  /// Handed out and not yet given back, rounded up: to the alignment, on cuda to size classes.
  size_t in_use_bytes = 0;
  size_t cached_bytes = 0;       ///< given back, kept for the next request
  size_t graph_bytes = 0;        ///< given back, kept for the next replay of a step graph (cuda)
  size_t peak_in_use_bytes = 0;  ///< the most that was in use at once since reset_peak()
  uint64_t system_requests = 0;  ///< how often the operating system was asked
};

/// The storage of all CPU tensors: blocks of an arena, aligned to 64 bytes. What is given back is
/// kept for reuse: a training step that repeats takes nothing from the operating system.
/// With DECANT_CHECK_MEMORY (preset `debug`) fresh blocks are filled with NaN (see set_poison), and
/// red zones around them are looked at when they come back; a damaged one throws Error at the next
/// request.
/// All functions may be called from any thread.
namespace cpu_memory {

/// Throws Error with requested, in use, cached and limit where the limit or the system forbids it.
void* allocate(size_t bytes);
void release(void* data, size_t bytes) noexcept;

/// While it lives, the calling thread keeps up to eight blocks of up to 512 KB that it releases,
/// for its next requests of the same sizes. The tasks of a loop ask for the same buffers again and
/// again; threads then need not wait for each other. What is kept counts as in use.
class KeepBlocks {
 public:
  KeepBlocks();
  ~KeepBlocks();
  KeepBlocks(const KeepBlocks&) = delete;
  KeepBlocks& operator=(const KeepBlocks&) = delete;

 private:
  bool previous_;
};

MemoryStatistics statistics();
/// Measures peak_in_use_bytes anew.
void reset_peak();
/// Whether fresh blocks are filled with NaN, so that reading what was never written shows.
void set_poison(bool on);
/// The most that may be in use; 0 means no limit but the system's.
void set_limit(size_t bytes);

}  // namespace cpu_memory
}  // namespace decant
