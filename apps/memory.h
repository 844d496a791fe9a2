#pragma once

#include <cstdint>
#include <string_view>

#include "nn/network.h"

namespace decant::apps {

/// Throws Error naming the key unless the side of a network's input is one that an image can have:
/// `least` .. 8192 (data/image_io.h reads no more pixels than 8192 x 8192).
void check_size(std::string_view key, int64_t size, int64_t least = 1);

/// Throws Error naming the keys, what they ask for and what there is, where a training step on the
/// CPU takes more memory than the machine has: the system would end the process without a word.
/// Judged by half of what all its ops put out: some 40 % of that is kept for backward (batch norm's
/// values, for one, are made again), and the gradients on the way take more than the rest. What
/// passes may still be too much.
void require_step_memory(nn::Network& network, int64_t size, int64_t batch,
                         std::string_view size_key);

}  // namespace decant::apps
