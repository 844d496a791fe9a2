#pragma once

#include <bit>
#include <cstdint>

#include "engine/core/host_device.h"

namespace decant {

/// The upper half of a float32: its range with 8 bits of precision. A type to store and to
/// multiply, not to add up in: arithmetic happens in float, to which it converts exactly.
struct bf16 {  // NOLINT(readability-identifier-naming): named like the types it stands beside
  uint16_t bits;

  bf16() = default;
  /// By way of float.
  template <class T>
  HOST_DEVICE explicit bf16(T value) : bf16(static_cast<float>(value)) {}
  /// Rounded to the nearest, to the even one of two; NaN stays NaN.
  HOST_DEVICE explicit bf16(float value) {
    const auto x = std::bit_cast<uint32_t>(value);
    const bool nan = (x & 0x7FFFFFFFU) > 0x7F800000U;
    bits = nan ? uint16_t{0x7FFF} : static_cast<uint16_t>((x + 0x7FFFU + (x >> 16U & 1U)) >> 16U);
  }
  // NOLINTNEXTLINE(google-explicit-constructor): nothing is lost
  HOST_DEVICE operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16U); }
};

}  // namespace decant
