#include "engine/cpu/peak.h"

#include <algorithm>
#include <chrono>

#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {
namespace {

// The least of several: what came between does not count.
double seconds(const auto& work) {
  double least = 0;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    least = i == 0 ? time.count() : std::min(least, time.count());
  }
  return least;
}

}  // namespace

double multiply_add_peak() {
  constexpr int64_t kCount = 200'000;
  constexpr int64_t kAccumulators = 12;  // of Kernels::peak
  const int threads = num_threads();
  const double time = seconds([threads] {
    parallel_for(threads, [](int64_t) {
      volatile float sink = kernels().peak(kCount);
      (void)sink;
    });
  });
  return static_cast<double>(2 * kAccumulators * kernels().lanes * kCount * threads) / time;
}

double copy_peak() {
  constexpr int64_t kFloats = int64_t{1} << 25U;  // 128 MiB each
  constexpr int64_t kGrain = int64_t{1} << 16U;
  Scratch from(kFloats);
  Scratch to(kFloats);
  std::fill_n(from.data(), kFloats, 1.0F);
  const double time = seconds([&] {
    parallel_ranges(kFloats, kGrain, [&](int64_t begin, int64_t end) {
      std::copy(from.data() + begin, from.data() + end, to.data() + begin);
    });
  });
  return static_cast<double>(2 * kFloats * int64_t{sizeof(float)}) / time;
}

}  // namespace decant::cpu
