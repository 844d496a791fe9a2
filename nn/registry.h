#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/decoders/decoder.h"
#include "nn/encoders/encoder.h"
#include "nn/network_spec.h"

namespace decant::nn {

// What register_encoder and register_decoder were given. All throw Error with the nearest known
// name where a name is unknown.

std::vector<std::string> encoder_names();  ///< sorted
std::vector<std::string> decoder_names();

std::unique_ptr<Encoder> make_encoder(const NetworkSpec& spec);
std::unique_ptr<Decoder> make_decoder(const NetworkSpec& spec,
                                      const std::vector<int64_t>& channels);

const DecoderKind& decoder_kind(std::string_view decoder);

}  // namespace decant::nn
