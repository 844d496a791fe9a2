#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace decant {

/// How many threads parallel_for uses, the caller's included. The default is as many as the process
/// may use processors.
int num_threads();
/// Throws Error unless 1 <= count <= 1024 and the system gives that many. Not to be called from
/// inside parallel_for.
void set_num_threads(int count);

/// While it lives, loops of this thread run on this thread alone: for threads that work beside the
/// one that trains, and must not take the pool from it.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool previous_;
};

namespace detail {
void run_chunks(int64_t count, void (*call)(void* context, int64_t chunk), void* context);
}

/// Calls f(i) once for each i in [0, count), on the threads of the project's one pool, in no
/// particular order, and returns when all are done. The first exception of an f is rethrown.
/// Called from inside another parallel_for, or while another thread uses the pool, it runs all
/// chunks on the calling thread.
/// Results must not depend on who runs a chunk: cut the work into chunks by its shape alone, never
/// by the number of threads, and merge their results in order.
template <class F>
void parallel_for(int64_t count, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::run_chunks(
      count, [](void* context, int64_t chunk) { (*static_cast<Function*>(context))(chunk); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

/// Calls f(begin, end) for consecutive ranges of `grain` elements that cover [0, size).
template <class F>
void parallel_ranges(int64_t size, int64_t grain, F&& f) {
  parallel_for((size + grain - 1) / grain,
               [&](int64_t chunk) { f(chunk * grain, std::min(size, (chunk + 1) * grain)); });
}

/// Elements per chunk for loops that do a few operations per element: large enough to outweigh the
/// hand-over, small enough to stay in the cache of one core.
constexpr int64_t kElementGrain = 16384;

}  // namespace decant
