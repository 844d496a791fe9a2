#pragma once

#include <cstdint>

namespace decant::cuda {

/// Kernels, products and copies within the device that this program has queued so far. Each costs
/// a card some microseconds beside its work, and the host more, so that small networks consist of
/// little else. What a step graph replays is not counted again, nor are transfers from and to the
/// host.
uint64_t launch_count();

/// Called wherever one is queued; shows its op where the environment says DECANT_LAUNCHES=1.
void count_launch(const char* op);

}  // namespace decant::cuda
