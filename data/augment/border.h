#pragma once

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {

/// What lies outside an image, with OpenCV's names and numbers; for a row abcd:
///   constant vvv|abcd|vvv, replicate aaa|abcd|ddd, reflect cba|abcd|dcb, wrap bcd|abcd|abc,
///   reflect_101 dcb|abcd|cba
enum class Border { constant = 0, replicate = 1, reflect = 2, wrap = 3, reflect_101 = 4 };

/// What stands for pixels outside an image, and the constant's values.
struct Outside {
  Border border = Border::constant;
  std::vector<double> fill = {0};  ///< per channel, or one for all (Albumentations hands one number
                                   ///< on to OpenCV, which may fill the first channel alone)
  bool fill_mask = false;
};

/// How a transform of version 1 calls them; of version 2 they are border_mode (constant), fill and
/// fill_mask throughout.
struct OutsideNames {
  const char* border = "border_mode";
  const char* fill = "value";
  const char* fill_mask = "mask_value";
  Border usual = Border::reflect_101;
};

Outside read_outside(Arguments& arguments, const OutsideNames& names = {});

/// The index inside 0 .. n - 1 that index i stands for; -1 for the constant.
inline int64_t border_index(int64_t i, int64_t n, Border border) {
  if (i >= 0 && i < n) return i;
  const auto modulo = [](int64_t a, int64_t b) { return (a % b + b) % b; };
  switch (border) {
    case Border::constant:
      return -1;
    case Border::replicate:
      return i < 0 ? 0 : n - 1;
    case Border::reflect: {
      const int64_t k = modulo(i, 2 * n);
      return k < n ? k : 2 * n - 1 - k;
    }
    case Border::wrap:
      return modulo(i, n);
    case Border::reflect_101: {
      if (n == 1) return 0;
      const int64_t k = modulo(i, 2 * n - 2);
      return k < n ? k : 2 * n - 2 - k;
    }
  }
  return -1;
}

/// Entry c of a list given per channel, or once for all channels.
inline float channel_value(const std::vector<double>& values, int c) {
  return static_cast<float>(values.size() == 1 ? values[0] : values[static_cast<size_t>(c)]);
}

/// Throws Error unless there is one value, or one for each of the frame's channels.
inline void check_channel_values(const std::vector<double>& values, const FrameShape& frame,
                                 const char* what) {
  check(values.size() == 1 || values.size() == static_cast<size_t>(frame.channels), what,
        ": expected one value or one per channel, got ", values.size(), " for ", frame.channels,
        " channels");
}

}  // namespace decant::data
