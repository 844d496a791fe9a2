#pragma once

#include <cmath>

#include "data/augment/border.h"

namespace decant::data {

/// How a transform that moves pixels reads an image between them and beyond them. The mask is read
/// at the nearest pixel.
struct Sampling {
  bool linear = true;  ///< otherwise the nearest pixel
  Outside outside = {};
};

/// Arguments interpolation (1 linear, 0 nearest) and those of read_outside. Throws Error for other
/// interpolations, and for a mask_interpolation that is not the nearest pixel.
inline Sampling read_sampling(Arguments& arguments, const OutsideNames& names = {},
                              bool names_mask_interpolation = false) {
  const int interpolation = arguments.integer("interpolation", 1);
  check(interpolation <= 1, arguments.transform(),
        ": expected an interpolation of 0 (nearest) or 1 (linear), got ", interpolation);
  if (arguments.is_v2() || names_mask_interpolation) arguments.only("mask_interpolation", 0);
  return {.linear = interpolation == 1, .outside = read_outside(arguments, names)};
}

/// Pixel (x, y) of the result is the frame at from(x, y), an array of two doubles.
/// Source: OpenCV's warpAffine and remap.  Differs: exact bilinear weights, where OpenCV rounds
/// positions to 1/32 pixel.
template <class From>
void resample(Frame& frame, const Sampling& sampling, const From& from) {
  const std::vector<float> image = std::move(frame.image);
  const std::vector<uint8_t> mask = std::move(frame.mask);
  frame.image.assign(image.size(), 0);
  frame.mask.assign(mask.size(), 0);
  const auto& [border, fill, fill_mask] = sampling.outside;

  // Index of a pixel that may lie outside; -1 for the constant.
  const auto index = [&](int64_t x, int64_t y) {
    const int64_t ix = border_index(x, frame.width, border);
    const int64_t iy = border_index(y, frame.height, border);
    return ix < 0 || iy < 0 ? int64_t{-1} : iy * frame.width + ix;
  };
  const auto value = [&](int64_t pixel, int c) {
    return pixel < 0 ? channel_value(fill, c)
                     : image[static_cast<size_t>(pixel * frame.channels + c)];
  };
  const auto blend = [&](double sx, double sy, float* out) {
    const double fx = std::floor(sx);
    const double fy = std::floor(sy);
    const auto wx = static_cast<float>(sx - fx);
    const auto wy = static_cast<float>(sy - fy);
    const auto x = static_cast<int64_t>(fx);
    const auto y = static_cast<int64_t>(fy);
    const int64_t corners[4] = {index(x, y), index(x + 1, y), index(x, y + 1), index(x + 1, y + 1)};
    for (int c = 0; c < frame.channels; ++c) {
      const float a = value(corners[0], c);
      const float b = value(corners[2], c);
      const float upper = a + wx * (value(corners[1], c) - a);
      const float lower = b + wx * (value(corners[3], c) - b);
      out[c] = upper + wy * (lower - upper);
    }
  };

  size_t pixel = 0;
  for (int y = 0; y < frame.height; ++y) {
    for (int x = 0; x < frame.width; ++x, ++pixel) {
      const auto [sx, sy] = from(x, y);
      float* out = &frame.image[pixel * static_cast<size_t>(frame.channels)];
      const int64_t near = index(static_cast<int64_t>(std::floor(sx + 0.5)),
                                 static_cast<int64_t>(std::floor(sy + 0.5)));
      if (!mask.empty())
        frame.mask[pixel] = near < 0 ? (fill_mask ? 1 : 0) : mask[static_cast<size_t>(near)];
      if (sampling.linear)
        blend(sx, sy, out);
      else
        for (int c = 0; c < frame.channels; ++c) out[c] = value(near, c);
    }
  }
}

}  // namespace decant::data
