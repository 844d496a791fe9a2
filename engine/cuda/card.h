#pragma once

#include <cstddef>
#include <string>

namespace decant::cuda {

/// What the device is, for people and reports.
struct Card {
  std::string name;  ///< "NVIDIA H200", "emulated device"
  int multiprocessors = 0;
  int major = 0;  ///< compute capability
  int minor = 0;
  size_t memory_bytes = 0;
};

/// The device that everything runs on. Throws Error "no CUDA device found", with the driver's
/// reason, where this machine has none.
Card card();

/// The shared memory that a block may have: 99 KB to 227 KB.
size_t most_shared_bytes();

}  // namespace decant::cuda
