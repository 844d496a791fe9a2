#include "engine/core/processors.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <cerrno>
#include <thread>

namespace decant {

int available_processors() {
  const int machine = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#if defined(__linux__)
  // The kernel refuses a set that is too small for its own, whatever this machine has.
  for (int most = 1024; most <= 1 << 20; most *= 2) {
    cpu_set_t* const allowed = CPU_ALLOC(most);
    if (allowed == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(most);
    const bool known = sched_getaffinity(0, bytes, allowed) == 0;
    const int count = known ? CPU_COUNT_S(bytes, allowed) : 0;
    const bool too_small = !known && errno == EINVAL;
    CPU_FREE(allowed);
    if (known) return std::clamp(count, 1, 1024);
    if (!too_small) break;
  }
#endif
  return std::min(machine, 1024);
}

}  // namespace decant
