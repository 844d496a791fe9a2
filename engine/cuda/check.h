#pragma once

#include <cuda_runtime.h>

#include <source_location>

namespace decant::cuda {

/// Which op asks something of the device, and where in the source: what an Error names.
///   launch("softmax", kernel, ...) and ensure(status, "softmax") fill in file and line themselves.
struct Where {
  const char* op;
  std::source_location at;

  // NOLINTNEXTLINE(google-explicit-constructor): callers write the op's name alone
  Where(const char* name, std::source_location here = std::source_location::current())
      : op(name), at(here) {}
};

/// Throws Error "op: what CUDA said (file:line)" unless `status` is success.
void ensure(cudaError_t status, const Where& where);

/// Whether every launch waits for its kernel (environment DECANT_SYNC=1), so that an error that
/// CUDA reports late names the op that made it.
bool sync_mode();

/// Whether this thread captures a step graph: nothing runs, and nothing may be read back.
bool capturing();

}  // namespace decant::cuda
