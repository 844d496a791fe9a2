#include "nn/encoders/encoder.h"

#include "nn/network_spec.h"

namespace decant::nn {

Encoder::Encoder(std::vector<int64_t> channels, const NetworkSpec& spec, Dilates dilates)
    : channels_(std::move(channels)), output_stride_(spec.options.output_stride.value_or(0)) {
  constexpr int64_t kLeast = 3;
  const auto most = static_cast<int64_t>(channels_.size()) - 1;
  check(spec.depth == most || (spec.depth >= kLeast && spec.depth < most), spec.encoder,
        ": expected a depth of ", kLeast, " to ", most, ", got ", spec.depth);
  channels_.resize(static_cast<size_t>(spec.depth) + 1);
  check(output_stride_ == 0 || dilates == Dilates::yes, spec.decoder,
        ": expected an encoder that can keep its maps large, such as resnet18 or mobilenet_v2; ",
        spec.encoder, " cannot");
}

}  // namespace decant::nn
