#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decant::nn {

/// What may be chosen about a decoder. Each takes some of these, with usual values of its own
/// (usual_options in registry.h): an absent one has its usual value, which resolved() fills in, and
/// those that a decoder does not take stay absent.
struct DecoderOptions {
  /// Of unet, unetplusplus, manet: of each level, the coarsest first; of fpn: of the pyramid and of
  /// its branches; of the others: of the map that the logits are made from.
  std::optional<std::vector<int64_t>> channels = {};
  std::optional<std::string> norm = {};       ///< "batchnorm", "instancenorm", "identity": none
  std::optional<std::string> attention = {};  ///< "none", "scse"
  std::optional<int64_t> attention_channels = {};  ///< of manet's keys and queries
  /// How much coarser than the image the encoder's last maps may be: 8 or 16.
  std::optional<int64_t> output_stride = {};
  std::optional<std::vector<int64_t>> rates = {};  ///< dilations of three parallel convolutions
  std::optional<bool> separable = {};              ///< whether these go channel by channel
  std::optional<double> dropout = {};              ///< probability; 0: none

  bool operator==(const DecoderOptions&) const = default;
};

/// Which network: networks are data.
struct NetworkSpec {
  std::string decoder = "unet";  ///< one of decoder_names()
  std::string encoder;           ///< one of encoder_names(); empty: the decoder's own
  int64_t in_channels = 3;
  int64_t classes = 1;  ///< logits per pixel; 1 is lesion against background
  int64_t width = 16;   ///< of the thin encoder and decoder: channels of the first level
  /// How often the encoder halves the image: its last map has stride 2^depth. 0: as usual with the
  /// decoder, 5 mostly.
  int64_t depth = 0;
  DecoderOptions options = {};

  /// "unet/resnet18", "thin_unet", "thin_unet:width=8,depth=4", "fpn/resnet18:channels=128-64":
  /// what parse_network reads.
  std::string name() const;

  bool operator==(const NetworkSpec&) const = default;
};

/// Reads DECODER[/ENCODER][:KEY=VALUE,...] with the keys in_channels, classes, width, depth and
/// those of DecoderOptions, lists written as 256-128-64; or the JSON form, as text beginning with
/// '{' or as the path of a file ending in .json. What is left out is filled in.
/// Throws Error naming the nearest known name where one is unknown, or the path.
NetworkSpec parse_network(std::string_view text);

/// {"decoder": "linknet", "encoder": "mobilenet_v3_small_075", "in_channels": 3, "classes": 1};
/// width and depth stand there where the network is thin, depth and options where they are not as
/// usual, or `all` of them. Reading takes defaults for missing keys and throws Error for unknown
/// ones and for what resolved() refuses.
nlohmann::json to_json(const NetworkSpec& spec, bool all = false);
NetworkSpec network_spec_from_json(const nlohmann::json& json);

/// The spec with its encoder, depth and options filled in. Throws Error naming the nearest known
/// name where a name is unknown, those that are possible where the decoder has no such option, and
/// where a number is below 1 or the decoder needs an encoder that is not named.
NetworkSpec resolved(NetworkSpec spec);

}  // namespace decant::nn
