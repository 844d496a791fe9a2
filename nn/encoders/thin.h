#pragma once

#include <cstdint>

namespace decant::nn {

/// Channels of the thin U-Net at level 1 .. 7 (level i has stride 2^i), on its way down and up:
/// width times a factor, rounded. Width 16 gives 16, 24, 48, 96, 160 down and 96, 64, 32, 16 up.
int64_t thin_encoder_channels(int64_t width, int64_t level);
int64_t thin_decoder_channels(int64_t width, int64_t level);

constexpr int64_t kThinMaxDepth = 7;

}  // namespace decant::nn
