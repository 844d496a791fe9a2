#include "data/augment/distortion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>

#include "data/augment/convolve.h"

namespace decant::data {
namespace {

constexpr int kApproximateWindow = 17;

// To where the kernels of SciPy's gaussian_filter and of OpenCV's GaussianBlur of floats reach.
int window_of(const ElasticField& field) {
  if (field.approximate) return kApproximateWindow;
  if (field.version == Version::v1) return 2 * static_cast<int>(4 * field.sigma + 0.5) + 1;
  return static_cast<int>(std::lrint(field.sigma * 4 * 2 + 1)) | 1;
}

}  // namespace

void resample(Frame& frame, const Sampling& sampling, const PixelMap& map) {
  resample(frame, sampling, [&](int x, int y) {
    const size_t i =
        static_cast<size_t>(y) * static_cast<size_t>(frame.width) + static_cast<size_t>(x);
    return std::array<double, 2>{map.x[i], map.y[i]};
  });
}

PixelMap ElasticField::map(int width, int height, std::vector<float> noise_x,
                           std::vector<float> noise_y) const {
  const std::vector<double> kernel = gaussian_kernel(window_of(*this), sigma);
  const bool same = noise_y.empty();
  if (version == Version::v1) {
    const Border border = approximate ? Border::reflect_101 : Border::reflect;
    convolve(noise_x, {width, height, 1}, kernel, border);
    if (!same) convolve(noise_y, {width, height, 1}, kernel, border);
  } else {
    const auto first = static_cast<int64_t>(noise_x.size());
    std::ranges::copy(noise_y, std::back_inserter(noise_x));
    convolve(noise_x, {width, same ? height : 2 * height, 1}, kernel, Border::replicate);
    noise_y.assign(noise_x.begin() + first, noise_x.end());
  }
  if (same) noise_y = noise_x;
  PixelMap map;
  size_t i = 0;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x, ++i) {
      map.x.push_back(static_cast<float>(x + alpha * static_cast<double>(noise_x[i])));
      map.y.push_back(static_cast<float>(y + alpha * static_cast<double>(noise_y[i])));
    }
  return map;
}

Affine elastic_affine(const FrameShape& frame, const std::array<double, 6>& moves) {
  const double cx = frame.height / 2;  // NOLINT(bugprone-integer-division): as there
  const double cy = frame.width / 2;   // NOLINT(bugprone-integer-division)
  const double size = std::min(frame.width, frame.height) / 3;  // NOLINT(bugprone-integer-division)
  const std::array<double, 6> corners = {cx + size, cy + size, cx + size,
                                         cy - size, cx - size, cy - size};
  // The map that takes (0, 0), (1, 0) and (0, 1) to three points.
  const auto onto = [](const std::array<double, 6>& p) {
    return Affine{{p[2] - p[0], p[4] - p[0], p[0], p[3] - p[1], p[5] - p[1], p[1]}};
  };
  std::array<double, 6> moved = corners;
  for (size_t i = 0; i < moved.size(); ++i) moved[i] += moves[i];
  return onto(moved) * onto(corners).inverse();
}

std::vector<float> grid_positions(int size, std::vector<double> steps, bool normalized,
                                  Version version) {
  const auto number = static_cast<int>(steps.size()) - 1;
  const int step = size / number;
  check(step > 0, "GridDistortion: expected at least ", number, " pixels, got ", size);
  if (normalized) {
    const int rest = std::min(size, (number + 1) * step) - number * step;
    steps.back() *= static_cast<double>(rest) / step;
    const double sum = std::accumulate(steps.begin(), steps.end(), 0.0);
    for (double& s : steps) s *= static_cast<double>(size) / step / sum;
  }
  std::vector<float> positions(static_cast<size_t>(size), 0.0F);
  double from = 0;
  for (int i = 0; i <= number; ++i) {
    const int begin = i * step;
    const int end = std::min(begin + step, size);
    const bool over = version == Version::v1 && begin + step > size;
    const double to = over ? size : from + step * steps[static_cast<size_t>(i)];
    for (int k = begin; k < end; ++k) {
      const double share =
          end - begin == 1 ? 0 : static_cast<double>(k - begin) / (end - begin - 1);
      positions[static_cast<size_t>(k)] = static_cast<float>(from + share * (to - from));
    }
    from = to;
  }
  return positions;
}

}  // namespace decant::data
