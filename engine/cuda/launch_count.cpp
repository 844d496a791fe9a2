#include "engine/cuda/launch_count.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace decant::cuda {
namespace {

std::atomic<uint64_t> count = 0;

bool shows_each() {
  static const bool on = [] {
    const char* value = std::getenv("DECANT_LAUNCHES");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return on;
}

}  // namespace

uint64_t launch_count() {
  return count;
}

void count_launch(const char* op) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (shows_each()) std::fprintf(stderr, "launch: %s\n", op);
}

}  // namespace decant::cuda
