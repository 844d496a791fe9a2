#include "nn/files/smp_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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

/// A class of SMP, our decoder of that structure, and the arguments that make it so.
struct SmpClass {
  const char* name;
  const char* decoder;
  const char* arguments;
};

constexpr SmpClass kClasses[] = {
    {"Unet", "unet",
     R"({"encoder_depth": 5, "decoder_use_norm": "batchnorm", "decoder_interpolation": "nearest",
         "decoder_channels": [256, 128, 64, 32, 16], "decoder_attention_type": null})"},
    {"Linknet", "linknet", R"({"encoder_depth": 5, "decoder_use_norm": "batchnorm"})"},
};

/// What every class takes: logits come out as they are, and nothing beside them.
constexpr const char* kCommonArguments = R"({"activation": null, "aux_params": null})";
/// Older names of the arguments above. Read, not written.
constexpr const char* kOldArguments = R"({"decoder_use_batchnorm": true})";

/// Encoders that SMP calls otherwise: ours begin so, SMP's so. The first is the one written.
constexpr std::string_view kMobileNet = "mobilenet_v3_";
constexpr std::string_view kSmpMobileNets[] = {"tu-tf_mobilenetv3_", "timm-mobilenetv3_"};

std::string class_names() {
  std::string names;
  for (const SmpClass& c : kClasses) names += str(names.empty() ? "" : ", ", c.name);
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

void read_argument(const SmpClass& smp, const std::string& key, const Json& value,
                   NetworkSpec& spec) {
  if (key == "in_channels" || key == "classes") {
    check(value.is_number_integer(), "expected a whole number for ", key, ", got ",
          shown(value.dump()));
    (key == "classes" ? spec.classes : spec.in_channels) = value.get<int64_t>();
  } else if (key == "encoder_name") {
    check(value.is_string(), "expected a name for encoder_name, got ", shown(value.dump()));
    spec.encoder = own_encoder_name(value.get<std::string>());
  } else if (key != "encoder_weights" && !key.starts_with("_")) {
    check(expect_argument(smp.arguments, key, value) ||
              expect_argument(kCommonArguments, key, value) ||
              expect_argument(kOldArguments, key, value),
          "expected arguments of ", smp.name, " that are known here, got \"", shown(key), '"');
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
  const auto* smp =
      std::ranges::find_if(kClasses, [&](const SmpClass& c) { return name == c.name; });
  check(smp != std::end(kClasses), "expected one of ", class_names(), ", got \"", shown(name), '"');
  NetworkSpec spec;
  spec.decoder = smp->decoder;
  spec.encoder = "resnet34";  // as everywhere in SMP, where none is named
  for (const auto& [key, value] : config.items()) read_argument(*smp, key, value, spec);
  return resolved(spec);
}

Json smp_config(const NetworkSpec& spec) {
  const NetworkSpec full = resolved(spec);
  const auto* smp =
      std::ranges::find_if(kClasses, [&](const SmpClass& c) { return full.decoder == c.decoder; });
  check(smp != std::end(kClasses), "smp: expected a decoder that SMP has (", class_names(),
        "), got ", full.decoder);
  Json config = Json::parse(smp->arguments);
  config.update(Json::parse(kCommonArguments));
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
