#pragma once

#include <cstdint>

#include "engine/cpu/source.h"

namespace decant::cpu {

/// Mean and biased variance of each of `channels` columns of x [pixels, channels], float32. Each
/// tile of pixels gives (count, mean, squared deviations) in float32; tiles are merged in order, in
/// double. Tiles depend on the shape alone.
void channel_moments(const Source& x, int64_t pixels, int64_t channels, double* mean,
                     double* variance);

/// How many pixels [.., channels] are taken together, as one of so many times the channels, so that
/// they fill whole vectors: 1 where they do already, or where the pixels cannot be divided so.
int64_t pixels_together(int64_t pixels, int64_t channels);

/// Pixels per tile of everything that runs over [pixels, channels].
int64_t pixels_per_tile(int64_t channels);

}  // namespace decant::cpu
