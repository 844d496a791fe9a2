#pragma once

#include <cstdint>
#include <string_view>

#include "engine/cpu/conv.h"

namespace decant::cpu {

enum class ConvPass : uint8_t { forward, input_gradient, weight_gradient };
enum class ConvAlgorithm : uint8_t { depthwise, few_outputs, direct, winograd };

std::string_view name_of(ConvAlgorithm algorithm);

/// Images that conv2d_* of conv.h count on to share the transform of a filter, however many there
/// are: what becomes of an image must not depend on its batch.
constexpr int64_t kUsualBatch = 8;

/// What conv2d_* of conv.h run for a pass: the cheaper by a count of operations, which depends on
/// the shape of an image, the filters and the kernels' vectors alone. A race on the clock would
/// choose otherwise from run to run, and with it the bits of a training.
ConvAlgorithm algorithm_of(const ConvShape& s, ConvPass pass, int64_t images = kUsualBatch);

/// Two gradients at once are another matter: of which convolutions conv2d_gradients makes both from
/// one visit to x and dy, "depthwise, both" or "pointwise, both"; empty of those that go through
/// the two passes above.
std::string_view name_of_one_pass(const ConvShape& s);

/// Whether convolutions are summed directly throughout, without Winograd's loss of accuracy
/// (winograd.h). False to begin with. Not to be set while ops run.
bool exact_convolutions();
void set_exact_convolutions(bool exact);

}  // namespace decant::cpu
