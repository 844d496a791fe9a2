#include "nn/files/smp_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/core/nearest_name.h"
#include "engine/io/atomic_file.h"
#include "engine/io/mapped_file.h"
#include "nn/checkpoint.h"
#include "nn/files/byte_reader.h"

namespace decant::nn {
namespace {

using Json = nlohmann::json;

constexpr const char* kConfig = "config.json";
constexpr int kMostDepth = 32;  // a run of ours has a config.json too, of six

/// How a value of SMP's reads here.
enum class Form : uint8_t {
  same,
  list,       ///< a number for a list of one
  first,      ///< a number for the first of two
  second,     ///< for the second
  attention,  ///< null for "none"
  norm,       ///< true and false for "batchnorm" and "identity"; {"type": NAME}; see kInstanceNorm
};

/// How SMP says "instancenorm". Its plain name asks for one without parameters, which SMP then
/// fails to initialize.
constexpr const char* kInstanceNorm = R"({"type": "instancenorm", "affine": true})";

/// An argument of SMP's and what we call it.
struct Argument {
  std::string_view smp;
  std::string_view own;
  Form form = Form::same;
};

/// Arguments by the names of now and of before; the first of several is the one written.
constexpr Argument kDepth = {"encoder_depth", "depth"};
constexpr Argument kStride = {"encoder_output_stride", "output_stride"};
constexpr Argument kNorm = {"decoder_use_norm", "norm", Form::norm};
constexpr Argument kOldNorm = {"decoder_use_batchnorm", "norm", Form::norm};
constexpr Argument kChannels = {"decoder_channels", "channels"};
constexpr Argument kWidth = {"decoder_channels", "channels", Form::list};
constexpr Argument kAttention = {"decoder_attention_type", "attention", Form::attention};
constexpr Argument kRates = {"decoder_atrous_rates", "rates"};
constexpr Argument kSeparable = {"decoder_aspp_separable", "separable"};
constexpr Argument kAsppDropout = {"decoder_aspp_dropout", "dropout"};

/// A class of SMP, our decoder of that structure, the arguments that it lets one choose, and those
/// that must be as they are.
struct SmpClass {
  std::string_view name;
  std::string_view decoder;
  std::vector<Argument> arguments;
  const char* fixed = "{}";
};

const std::vector<SmpClass>& classes() {
  constexpr const char* kNearest = R"({"decoder_interpolation": "nearest"})";
  static const std::vector<SmpClass> table = {
      {"Unet", "unet", {kDepth, kNorm, kOldNorm, kChannels, kAttention}, kNearest},
      {"UnetPlusPlus", "unetplusplus", {kDepth, kNorm, kOldNorm, kChannels, kAttention}, kNearest},
      {"MAnet",
       "manet",
       {kDepth, kNorm, kOldNorm, kChannels, {"decoder_pab_channels", "attention_channels"}},
       kNearest},
      {"Linknet", "linknet", {kDepth, kNorm, kOldNorm}},
      {"FPN",
       "fpn",
       {kDepth,
        {"decoder_pyramid_channels", "channels", Form::first},
        {"decoder_segmentation_channels", "channels", Form::second},
        {"decoder_dropout", "dropout"}},
       R"({"decoder_interpolation": "nearest", "decoder_merge_policy": "add"})"},
      {"PSPNet",
       "pspnet",
       {kDepth,
        {"psp_out_channels", "channels", Form::list},
        kNorm,
        {"psp_use_batchnorm", "norm", Form::norm},
        {"psp_dropout", "dropout"}}},
      {"DeepLabV3", "deeplabv3", {kDepth, kStride, kWidth, kRates, kSeparable, kAsppDropout}},
      {"DeepLabV3Plus",
       "deeplabv3plus",
       {kDepth, kStride, kWidth, kRates, kSeparable, kAsppDropout}},
  };
  return table;
}

/// What every class takes: logits come out as they are, and nothing beside them.
constexpr const char* kCommonArguments = R"({"activation": null, "aux_params": null})";

/// Encoders that SMP calls otherwise: ours begin so, SMP's so. The first is the one written.
constexpr std::string_view kMobileNet = "mobilenet_v3_";
constexpr std::string_view kSmpMobileNets[] = {"tu-tf_mobilenetv3_", "timm-mobilenetv3_"};

std::string class_names() {
  std::string names;
  for (const SmpClass& c : classes()) names += str(names.empty() ? "" : ", ", c.name);
  return names;
}

std::string own_encoder_name(const std::string& name) {
  for (const std::string_view there : kSmpMobileNets)
    if (name.starts_with(there)) return str(kMobileNet, name.substr(there.size()));
  return name;
}

std::string smp_encoder_name(const std::string& name) {
  check(name != "thin", "smp: expected an encoder that SMP has, got thin, which is ours alone");
  if (name.starts_with(kMobileNet)) return str(kSmpMobileNets[0], name.substr(kMobileNet.size()));
  return name;
}

/// Whether the argument is one of `arguments`. Throws Error where its value is another.
bool expect_argument(const char* arguments, const std::string& key, const Json& value) {
  const Json known = Json::parse(arguments);
  const auto expected = known.find(key);
  if (expected == known.end()) return false;
  check(*expected == value, "expected ", key, ' ', expected->dump(),
        ", which is what the network here has, got ", shown(value.dump()));
  return true;
}

/// A value of SMP's as ours; `before` is what the key holds already.
Json own_value(const Argument& argument, const Json& value, const Json& before) {
  switch (argument.form) {
    case Form::same:
      return value;
    case Form::list:
      return Json::array({value});
    case Form::first:
    case Form::second: {
      Json both = before;
      both[argument.form == Form::second ? 1 : 0] = value;
      return both;
    }
    case Form::attention:
      return value.is_null() ? Json("none") : value;
    case Form::norm:
      if (value.is_boolean()) return value.get<bool>() ? "batchnorm" : "identity";
      if (value == Json::parse(kInstanceNorm)) return "instancenorm";
      return value.is_object() && value.size() == 1 ? value.value("type", value) : value;
  }
  return value;
}

Json smp_value(const Argument& argument, const Json& own) {
  switch (argument.form) {
    case Form::list:
    case Form::first:
      return own.at(0);
    case Form::second:
      return own.at(1);
    case Form::attention:
      return own == "none" ? Json() : own;
    case Form::norm:
      return own == "instancenorm" ? Json::parse(kInstanceNorm) : own;
    case Form::same:
      return own;
  }
  return own;
}

/// By how much the head enlarges its logits, where SMP's class asks: so that they are as large as
/// the image.
std::optional<int64_t> upsampling_of(const NetworkSpec& spec) {
  const int64_t whole = int64_t{1} << spec.depth;
  if (spec.decoder == "fpn") return whole / 8;
  if (spec.decoder == "pspnet") return whole;
  if (spec.decoder == "deeplabv3") return std::min(whole, *spec.options.output_stride);
  if (spec.decoder == "deeplabv3plus") return 4;
  return {};
}

/// Puts an argument into our JSON of a network, `own`, which has everything that is usual.
void read_argument(const SmpClass& smp, const std::string& key, const Json& value, Json& own) {
  if (key == "encoder_name") {
    check(value.is_string(), "expected a name for encoder_name, got ", shown(value.dump()));
    own["encoder"] = own_encoder_name(value.get<std::string>());
  } else if (key == "in_channels" || key == "classes") {
    own[key] = value;
  } else if (const auto found = std::ranges::find(smp.arguments, key, &Argument::smp);
             found != smp.arguments.end()) {
    Json& place = own[std::string(found->own)];
    place = own_value(*found, value, place);
  } else if (key != "encoder_weights" && key != "upsampling" && !key.starts_with("_")) {
    std::vector<std::string> known = {"encoder_name", "in_channels", "classes"};
    for (const Argument& argument : smp.arguments) known.emplace_back(argument.smp);
    check(expect_argument(smp.fixed, key, value) || expect_argument(kCommonArguments, key, value),
          "expected arguments of ", smp.name, " that are known here, got \"", shown(key), '"',
          did_you_mean(key, known));
  }
}

Json read_config(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  const auto shallow = [&](int depth, Json::parse_event_t, Json&) {
    check(depth <= kMostDepth, path.string(), ": expected JSON nested at most ", kMostDepth,
          " deep, got a deeper one");
    return true;
  };
  try {
    return Json::parse(text, shallow);
  } catch (const Json::exception&) {
    throw Error(str(path.string(), ": expected a file of JSON, got something else"));
  }
}

}  // namespace

bool is_smp_folder(const std::filesystem::path& path) {
  std::error_code unknown;
  if (!std::filesystem::is_regular_file(path / kConfig, unknown)) return false;
  try {
    const Json config = read_config(path / kConfig);
    return config.is_object() && config.contains("_model_class");
  } catch (const Error&) {
    return false;  // whoever needs the file as something else says what is wrong with it
  }
}

NetworkSpec spec_from_smp(const Json& config) {
  check(config.is_object() && config.contains("_model_class") && config["_model_class"].is_string(),
        "expected the arguments of a model of SMP with its _model_class");
  const auto name = config["_model_class"].get<std::string>();
  const auto smp = std::ranges::find(classes(), name, &SmpClass::name);
  check(smp != classes().end(), "expected one of ", class_names(), ", got \"", shown(name), '"');
  // As everywhere in SMP, where no encoder is named; and what is usual depends on the depth.
  NetworkSpec usual = {.decoder = std::string(smp->decoder), .encoder = "resnet34"};
  const auto depth = config.find("encoder_depth");
  if (depth != config.end() && depth->is_number_integer()) usual.depth = depth->get<int64_t>();
  Json own = to_json(usual, true);
  for (const auto& [key, value] : config.items()) read_argument(*smp, key, value, own);
  const NetworkSpec spec = network_spec_from_json(own);
  const std::optional<int64_t> upsampling = upsampling_of(spec);
  const Json asked = config.value("upsampling", Json());
  check(asked.is_null() || (upsampling && asked == *upsampling), "expected upsampling ",
        upsampling.value_or(1), ", so that the logits are as large as the image, got ",
        shown(asked.dump()));
  return spec;
}

Json smp_config(const NetworkSpec& spec) {
  const NetworkSpec full = resolved(spec);
  const auto smp = std::ranges::find(classes(), full.decoder, &SmpClass::decoder);
  check(smp != classes().end(), "smp: expected a decoder that SMP has (", class_names(), "), got ",
        full.decoder);
  Json config = Json::parse(smp->fixed);
  config.update(Json::parse(kCommonArguments));
  const Json own = to_json(full, true);
  std::set<std::string_view> written;  // of the first two, both
  for (const Argument& argument : smp->arguments)
    if (written.insert(argument.own).second || argument.form == Form::second)
      config[std::string(argument.smp)] = smp_value(argument, own.at(std::string(argument.own)));
  if (const auto upsampling = upsampling_of(full)) config["upsampling"] = *upsampling;
  config["_model_class"] = smp->name;
  config["encoder_name"] = smp_encoder_name(full.encoder);
  config["encoder_weights"] = nullptr;
  config["in_channels"] = full.in_channels;
  config["classes"] = full.classes;
  return config;
}

std::unique_ptr<Network> read_smp_folder(const std::filesystem::path& path) {
  std::unique_ptr<Network> network;
  try {
    network = std::make_unique<Network>(spec_from_smp(read_config(path / kConfig)));
  } catch (const Error& error) {
    const std::string_view message = error.what();
    const std::string place = (path / kConfig).string();
    throw Error(message.starts_with(place) ? std::string(message) : str(place, ": ", message));
  }
  allocate(*network);
  load_checkpoint(path / kSmpWeights, *network);
  return network;
}

void write_smp_folder(const std::filesystem::path& path, Network& network) {
  const std::string config = smp_config(network.spec()).dump(2) + "\n";
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  check(!failed && std::filesystem::is_directory(path), path.string(),
        ": expected to make this folder, got ", failed ? failed.message() : "a file");
  save_checkpoint(path / kSmpWeights, network);
  write_file_atomically(path / kConfig, config);  // last: it says that the folder is one
}

}  // namespace decant::nn
