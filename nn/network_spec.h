#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace decant::nn {

/// Which network: networks are data.
struct NetworkSpec {
  std::string decoder = "unet";  ///< one of decoder_names()
  std::string encoder;           ///< one of encoder_names(); empty: the decoder's own
  int64_t in_channels = 3;
  int64_t classes = 1;  ///< logits per pixel; 1 is lesion against background
  int64_t width = 16;   ///< of the thin encoder and decoder: channels of the first level
  int64_t depth = 5;    ///< of the thin encoder: the hidden map has stride 2^depth

  /// "unet/resnet18", "thin_unet", "thin_unet:width=8,depth=4": what parse_network reads.
  std::string name() const;

  bool operator==(const NetworkSpec&) const = default;
};

/// Reads DECODER[/ENCODER][:KEY=VALUE,...] with the keys in_channels, classes, width, depth; or the
/// JSON form, as text beginning with '{' or as the path of a file ending in .json. The encoder is
/// filled in where the decoder has its own.
/// Throws Error naming the nearest known name where one is unknown, or the path.
NetworkSpec parse_network(std::string_view text);

/// {"decoder": "linknet", "encoder": "mobilenet_v3_small_075", "in_channels": 3, "classes": 1};
/// width and depth stand there where the network has them. Reading takes defaults for missing keys
/// and throws Error for unknown ones and for what resolved() refuses.
nlohmann::json to_json(const NetworkSpec& spec);
NetworkSpec network_spec_from_json(const nlohmann::json& json);

/// The spec with its encoder filled in. Throws Error naming the nearest known name where a name is
/// unknown, and where a number is below 1 or the decoder needs an encoder that is not named.
NetworkSpec resolved(NetworkSpec spec);

}  // namespace decant::nn
