#pragma once

#include <array>
#include <vector>

#include "data/augment/sampling.h"

namespace decant::data {

/// Where each pixel of a result lies in its source, [height, width].
struct PixelMap {
  std::vector<float> x, y;
};

/// Pixel i of the frame becomes what lies at (map.x[i], map.y[i]).
void resample(Frame& frame, const Sampling& sampling, const PixelMap& map);

/// How far ElasticTransform moves a pixel, by noise [height, width] of either axis.
struct ElasticField {
  double alpha = 1;
  double sigma = 50;
  bool approximate = false;  ///< a window of 17 x 17 instead of all that counts
  Version version = Version::v1;

  /// x + alpha (gaussian of sigma * noise_x), y likewise. Version 1 mirrors the noise at its
  /// edges; version 2 filters both fields as one picture, the second below the first, and continues
  /// that by its outermost pixels. Without noise_y both are moved by noise_x.
  PixelMap map(int width, int height, std::vector<float> noise_x, std::vector<float> noise_y) const;
};

/// The random affine map that version 1's ElasticTransform does before: the corners of a triangle
/// (in Albumentations' order of coordinates) go to where `moves`, x and y of each, takes them.
Affine elastic_affine(const FrameShape& frame, const std::array<double, 6>& moves);

/// Source positions along one axis of GridDistortion: `size` pixels in steps of size / number
/// pixels, step i stretched by steps[i], number + 1 of them. In version 1 what reaches over the end
/// comes from the end.
/// normalized: scaled so that they end at the end.
/// What lies beyond the last step, where size / number leaves a rest above one step, is 0, as
/// there.
std::vector<float> grid_positions(int size, std::vector<double> steps, bool normalized,
                                  Version version);

}  // namespace decant::data
