#pragma once

#include <cstdint>

namespace decant::cuda {

/// Zeros on the device with which blocks that share a result count themselves (last_of in
/// kernel.cuh), and which they leave zero: kernels of the compute stream run one after the other,
/// so all use the same. They stay where they are, also for step graphs.
inline constexpr int64_t kArrivalCounters = 1024;
unsigned* arrival_counters();

}  // namespace decant::cuda
