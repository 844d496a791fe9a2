#pragma once

#include <vector>

#include "data/augment/border.h"

namespace decant::data {

/// The size of an interleaved array [height, width, channels].
struct Extents {
  int width, height, channels;
};

/// exp(-x^2 / (2 sigma^2)) at the `size` whole numbers about 0, of sum 1; size is odd.
std::vector<double> gaussian_kernel(int size, double sigma);

/// Convolves rows and columns with an odd, symmetric kernel, in place.
void convolve(std::vector<float>& values, const Extents& extents, const std::vector<double>& kernel,
              Border border);

}  // namespace decant::data
