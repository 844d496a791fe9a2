#pragma once

#include <cstdint>
#include <ostream>

namespace decant {

enum class Device : uint8_t { cpu, cuda };

/// Whether this program was built with a CUDA device, a real or an emulated one.
#ifdef DECANT_WITH_CUDA
constexpr bool kWithCuda = true;
#else
constexpr bool kWithCuda = false;
#endif

inline std::ostream& operator<<(std::ostream& out, Device device) {
  return out << (device == Device::cpu ? "cpu" : "cuda");
}

}  // namespace decant
