#include "engine/cpu/moments.h"

#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {

int64_t pixels_per_tile(int64_t channels) {
  constexpr int64_t kTileFloats = 8192;  // 32 KB: the second pass over a tile finds it in the cache
  return std::clamp<int64_t>(kTileFloats / std::max<int64_t>(1, channels), 16, 1024);
}

int64_t pixels_together(int64_t pixels, int64_t channels) {
  const int64_t lanes = kernels().lanes;
  int64_t together = 1;
  while (together < lanes && channels * together % lanes != 0) together *= 2;
  return channels * together % lanes == 0 && pixels % together == 0 ? together : 1;
}

// With n_t, m_t, q_t the count, mean and squared deviations of tile t and m the mean of all,
//   q = sum q_t + n_t (m_t - m)^2        (Chan, Golub & LeVeque 1983)
void channel_moments(const Source& x, int64_t pixels, int64_t channels, double* mean,
                     double* variance) {
  const Kernels& kernels = cpu::kernels();
  const int64_t together = pixels_together(pixels, channels);
  const int64_t groups = pixels / together;
  const int64_t columns = channels * together;
  const int64_t tile = pixels_per_tile(columns);
  const int64_t tiles = ceil_div(groups, tile);
  const auto count = [=](int64_t t) { return std::min(tile, groups - t * tile); };
  Scratch partial(2 * tiles * columns);
  float* means = partial.data();
  float* deviations = means + tiles * columns;
  parallel_for(tiles, [&](int64_t t) {
    const int64_t begin = t * tile * together;
    Scratch made(x.data() == nullptr ? tile * columns : 0);
    kernels.moments({.pixels = count(t),
                     .channels = columns,
                     .x = x.pixels(begin, begin + count(t) * together, channels, made.data()),
                     .mean = means + t * columns,
                     .m2 = deviations + t * columns});
  });
  std::fill_n(mean, channels, 0.0);
  std::fill_n(variance, channels, 0.0);
  const auto total = static_cast<double>(pixels);
  for (int64_t t = 0; t < tiles; ++t) {
    const auto n = static_cast<double>(count(t));
    for (int64_t c = 0; c < columns; ++c) mean[c % channels] += n * means[t * columns + c];
  }
  for (int64_t c = 0; c < channels; ++c) mean[c] /= total;
  for (int64_t t = 0; t < tiles; ++t) {
    const auto n = static_cast<double>(count(t));
    for (int64_t c = 0; c < columns; ++c) {
      const double d = means[t * columns + c] - mean[c % channels];
      variance[c % channels] += deviations[t * columns + c] + n * d * d;
    }
  }
  for (int64_t c = 0; c < channels; ++c) variance[c] /= total;
}

}  // namespace decant::cpu
