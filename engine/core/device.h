#pragma once

#include <cstdint>
#include <ostream>

namespace decant {

enum class Device : uint8_t { cpu, cuda };

inline std::ostream& operator<<(std::ostream& out, Device device) {
  return out << (device == Device::cpu ? "cpu" : "cuda");
}

}  // namespace decant
