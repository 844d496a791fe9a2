#include "engine/cuda/check.h"

#include <cstdlib>
#include <string_view>

#include "engine/core/error.h"

namespace decant::cuda {

void ensure(cudaError_t status, const Where& where) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();  // an error that was thrown is not reported again by the next call
  std::string_view file = where.at.file_name();
  file.remove_prefix(file.rfind('/') + 1);  // rfind: npos + 1 is 0
  throw Error(str(where.op, ": CUDA says ", cudaGetErrorName(status), ", ",
                  cudaGetErrorString(status), " (", file, ':', where.at.line(), ')'));
}

bool sync_mode() {
  static const bool on = [] {
    const char* value = std::getenv("DECANT_SYNC");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return on;
}

}  // namespace decant::cuda
