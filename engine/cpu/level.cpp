#include "engine/cpu/level.h"

#include <atomic>
#include <cstdlib>

#include "engine/core/error.h"

namespace decant::cpu {
namespace {

constexpr Level kLevels[] = {Level::portable, Level::avx2, Level::avx512};

const Kernels& table(Level level) {
#ifdef DECANT_X86_KERNELS
  if (level == Level::avx2) return kernels_avx2();
  if (level == Level::avx512) return kernels_avx512();
#else
  (void)level;
#endif
  return kernels_portable();
}

Level choose() {
  if (const char* wanted = std::getenv("DECANT_CPU"); wanted != nullptr && *wanted != '\0') {
    for (const Level level : kLevels) {
      if (name_of(level) != wanted) continue;
      check(is_supported(level), "DECANT_CPU: this processor or build cannot run ", wanted);
      return level;
    }
    throw Error(str("DECANT_CPU: expected portable, avx2 or avx512, got ", wanted));
  }
  Level best = Level::portable;
  for (const Level level : kLevels)
    if (is_supported(level)) best = level;
  return best;
}

struct Choice {
  std::atomic<Level> level = choose();
};

Choice& choice() {
  static Choice instance;
  return instance;
}

}  // namespace

std::string_view name_of(Level level) {
  switch (level) {
    case Level::portable:
      return "portable";
    case Level::avx2:
      return "avx2";
    case Level::avx512:
      return "avx512";
  }
  return "unknown";
}

bool is_supported(Level level) {
#ifdef DECANT_X86_KERNELS
  if (level == Level::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (level == Level::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return level == Level::portable;
}

Level level() {
  return choice().level;
}

void set_level(Level level) {
  check(is_supported(level), "set_level: this processor or build cannot run ", level);
  choice().level = level;
}

const Kernels& kernels() {
  return table(level());
}

}  // namespace decant::cpu
