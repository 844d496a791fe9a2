#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace decant::cuda {

/// The device blocks of one owner: of eager code, or of one step graph, whose replays write to the
/// addresses that its capture saw and whose memory nobody else may be given.
class MemoryPool {
 public:
  MemoryPool() = default;
  /// Free blocks go back to the driver; those that a tensor still holds become eager code's.
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// Free blocks by size class.
  std::map<size_t, std::vector<void*>> free;
};

/// While it lives, this thread's requests are served from `pool`, and what it gives back, whoever
/// owned it, stays there.
class PoolScope {
 public:
  explicit PoolScope(MemoryPool& pool);
  ~PoolScope();
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

 private:
  MemoryPool* previous_;
};

}  // namespace decant::cuda
