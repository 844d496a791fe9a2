#pragma once

#include <cstdint>
#include <string_view>

#include "engine/cpu/conv.h"

namespace decant::cpu {

enum class ConvPass : uint8_t { forward, input_gradient, weight_gradient };
enum class ConvAlgorithm : uint8_t { depthwise, few_outputs, direct, winograd };

std::string_view name_of(ConvAlgorithm algorithm);

/// What conv2d_* of conv.h run for a pass: the cheaper by a count of operations, which depends on
/// the shape of an image, the filters and the kernels' vectors alone. A race on the clock would
/// choose otherwise from run to run, and with it the bits of a training; the number of images would
/// make an image's values depend on its batch.
ConvAlgorithm algorithm_of(const ConvShape& s, ConvPass pass);

/// Whether convolutions are summed directly throughout, without Winograd's loss of accuracy
/// (winograd.h). False to begin with. Not to be set while ops run.
bool exact_convolutions();
void set_exact_convolutions(bool exact);

}  // namespace decant::cpu
