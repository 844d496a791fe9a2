#include "data/augment/convolve.h"

#include <cmath>
#include <numeric>

namespace decant::data {
namespace {

// Lines of n elements, `stride` apart, that begin at the elements `begins`.
template <class Begins>
void convolve_lines(std::vector<float>& values, int64_t n, int64_t stride, const Begins& begins,
                    const std::vector<double>& kernel, Border border) {
  const auto radius = static_cast<int64_t>(kernel.size() / 2);
  std::vector<int64_t> sources;  // of the padded line
  for (int64_t i = -radius; i < n + radius; ++i) sources.push_back(border_index(i, n, border));
  std::vector<float> padded(sources.size());
  for (const int64_t begin : begins) {
    float* line = &values[static_cast<size_t>(begin)];
    for (size_t i = 0; i < sources.size(); ++i) padded[i] = line[sources[i] * stride];
    for (int64_t i = 0; i < n; ++i)
      line[i * stride] = static_cast<float>(
          std::inner_product(kernel.begin(), kernel.end(), padded.begin() + i, 0.0));
  }
}

}  // namespace

std::vector<double> gaussian_kernel(int size, double sigma) {
  std::vector<double> kernel;
  for (int i = 0; i < size; ++i) {
    const double x = (i - size / 2) / sigma;
    kernel.push_back(std::exp(-0.5 * x * x));
  }
  const double sum = std::accumulate(kernel.begin(), kernel.end(), 0.0);
  for (double& weight : kernel) weight /= sum;
  return kernel;
}

void convolve(std::vector<float>& values, const Extents& extents, const std::vector<double>& kernel,
              Border border) {
  const int64_t c = extents.channels;
  const int64_t row = extents.width * c;
  std::vector<int64_t> begins;
  for (int64_t y = 0; y < extents.height; ++y)
    for (int64_t k = 0; k < c; ++k) begins.push_back(y * row + k);
  convolve_lines(values, extents.width, c, begins, kernel, border);
  begins.resize(static_cast<size_t>(row));
  std::iota(begins.begin(), begins.end(), int64_t{0});
  convolve_lines(values, extents.height, row, begins, kernel, border);
}

}  // namespace decant::data
