#pragma once

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {

/// What lies outside an image, with OpenCV's names and numbers; for a row abcd:
///   constant vvv|abcd|vvv, replicate aaa|abcd|ddd, reflect cba|abcd|dcb, wrap bcd|abcd|abc,
///   reflect_101 dcb|abcd|cba
enum class Border { constant = 0, replicate = 1, reflect = 2, wrap = 3, reflect_101 = 4 };

/// Argument border_mode.
inline Border read_border(Arguments& arguments) {
  const int mode = arguments.integer("border_mode", 4);
  check(mode <= 4, "border_mode: expected 0 (constant), 1 (replicate), 2 (reflect), 3 (wrap) or ",
        "4 (reflect_101), got ", mode);
  return static_cast<Border>(mode);
}

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
