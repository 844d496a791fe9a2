#pragma once

#include <array>
#include <cstdint>

namespace decant::data {

/// CIE L*a*b* (D65) of 8-bit sRGB in OpenCV's 8-bit form, to the bit: L 255 / 100, a + 128, b +
/// 128.
std::array<uint8_t, 3> lab_of(const std::array<uint8_t, 3>& rgb);
/// The way back, clipped to 0 .. 255 and not rounded.
std::array<float, 3> rgb_of(const std::array<uint8_t, 3>& lab);

}  // namespace decant::data
