#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <utility>

#include "engine/core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/launch_count.h"
#include "engine/cuda/stream.h"

// The one place that starts kernels. `<<<>>>` is no C++, so the emulated device, whose kernels a
// host compiler compiles, has a function of its own to call here.

namespace decant::cuda {

struct Grid {
  dim3 blocks = 1;
  dim3 threads = 1;
  size_t shared_bytes = 0;  ///< of dynamic shared memory, most_shared_bytes() at most
};

/// ceil(n / per_block) as a number of blocks along x; throws Error where a grid cannot have as
/// many.
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  check(blocks <= 0x7FFFFFFF, "launch: expected at most 2^31 - 1 blocks, got ", blocks);
  return static_cast<unsigned>(blocks);
}

/// For a loop `for (i = global_thread(); i < n; i += all_threads())`: one element per thread as
/// long as the card can keep them in flight, more beyond.
inline Grid grid_over(int64_t n, unsigned threads = 256) {
  constexpr int64_t kBlocks = 4096;
  return {.blocks = static_cast<unsigned>(std::min(kBlocks, (n + threads - 1) / threads)),
          .threads = threads};
}

/// Queues kernel(args...) on the compute stream. `op` is what errors name. A grid without blocks
/// starts nothing.
///   launch("softmax", softmax_kernel, {.blocks = rows, .threads = 32}, x, y, length);
template <class... Parameters, class... Args>
void launch(const Where& op, void (*kernel)(Parameters...), const Grid& grid, Args&&... args) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  constexpr size_t kWithoutAsking = 48 << 10;
  if (grid.shared_bytes > kWithoutAsking)
    ensure(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(grid.shared_bytes)),
           op);
#ifdef DECANT_EMULATED
  emulated::launch(op.op, kernel, grid.blocks, grid.threads, grid.shared_bytes, compute_stream(),
                   std::forward<Args>(args)...);
#else
  kernel<<<grid.blocks, grid.threads, grid.shared_bytes, compute_stream()>>>(
      std::forward<Args>(args)...);
#endif
  ensure(cudaGetLastError(), op);
  count_launch(op.op);
  sync_if_asked(op);
}

}  // namespace decant::cuda
