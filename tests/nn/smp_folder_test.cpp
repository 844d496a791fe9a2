#include "nn/files/smp_folder.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"

namespace decant::nn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Folder {
  Folder() : path(fs::temp_directory_path() / str("decant_smp_", this)) {}
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

TEST_CASE("a folder of SMP comes back as it went") {
  const Folder folder;
  const auto network = make_network(parse_network("linknet/mobilenet_v3_small_075:classes=2"), 5);
  CHECK_FALSE(is_smp_folder(folder.path));
  write_smp_folder(folder.path, *network);
  REQUIRE(is_smp_folder(folder.path));
  const auto back = read_smp_folder(folder.path);
  CHECK(back->spec() == network->spec());
  CHECK(safetensors_bytes({state_dict(*back), {}}) ==
        safetensors_bytes({state_dict(*network), {}}));
  const auto fresh = make_network(network->spec(), 6);
  load_network_weights(*fresh, folder.path);
  CHECK(safetensors_bytes({state_dict(*fresh), {}}) ==
        safetensors_bytes({state_dict(*network), {}}));
}

TEST_CASE("a folder with a config.json of another kind is none of SMP's") {
  const Folder folder;
  fs::create_directories(folder.path);
  // A distilled run's: its terms lie deep.
  std::ofstream(folder.path / "config.json")
      << R"({"distill": {"spec": {"terms": [{"regressor": {"kernels": [3, 1]}}]}}})";
  CHECK_FALSE(is_smp_folder(folder.path));
  std::ofstream(folder.path / "config.json") << "no JSON";
  CHECK_FALSE(is_smp_folder(folder.path));
}

// What model.save_pretrained(folder) of SMP 0.5 writes for Unet("resnet18", encoder_weights=None).
TEST_CASE("the arguments are SMP's own") {
  const Json unet = Json::parse(R"({
    "_model_class": "Unet", "activation": null, "aux_params": null, "classes": 1,
    "decoder_attention_type": null, "decoder_channels": [256, 128, 64, 32, 16],
    "decoder_interpolation": "nearest", "decoder_use_norm": "batchnorm", "encoder_depth": 5,
    "encoder_name": "resnet18", "encoder_weights": null, "in_channels": 3})");
  CHECK(smp_config(parse_network("unet/resnet18")) == unet);
  CHECK(spec_from_smp(unet) == parse_network("unet/resnet18"));
  Json old = unet;
  old.erase("decoder_use_norm");
  old.erase("decoder_interpolation");
  old["decoder_use_batchnorm"] = true;
  old["encoder_weights"] = "imagenet";
  CHECK(spec_from_smp(old) == parse_network("unet/resnet18"));

  const auto refused = [&](const char* key, const Json& value, const char* reason) {
    Json config = unet;
    config[key] = value;
    CHECK_THROWS_WITH_AS(Network(spec_from_smp(config)), doctest::Contains(reason), Error);
  };
  refused("_model_class", "Segformer", "got \"Segformer\"");
  refused("encoder_name", "resnet17", "did you mean");
  refused("encoder_depth", 4, "expected 4 channels");
  refused("encoder_depth", 6, "");
  refused("decoder_attention_type", "scce", "did you mean \"scse\"");
  refused("decoder_channels", Json::array({1}), "expected 5 channels of 1 to 65536");
  refused("decoder_use_norm", "layernorm", "expected norm of batchnorm, instancenorm, identity");
  refused("decoder_interpolation", "bilinear", "expected decoder_interpolation \"nearest\"");
  refused("upsampling", 2, "expected upsampling 1");
  refused("decoder_chanels", Json::array({1}), "did you mean \"decoder_channels\"");
  refused("activation", "sigmoid", "expected activation null");
  refused("decoder_colour", "red", "got \"decoder_colour\"");
  refused("classes", "two", "a whole number for \"classes\"");
  refused("classes", 0, "at least 1");
  CHECK_THROWS_WITH_AS(smp_config(parse_network("thin_unet")), doctest::Contains("thin_unet"),
                       Error);
}

// The defaults of SMP 0.5's classes, where inspect.signature has them.
TEST_CASE("every architecture's arguments are SMP's, and come back") {
  const std::pair<const char*, const char*> defaults[] = {
      {"unetplusplus/resnet18", R"({"_model_class": "UnetPlusPlus", "encoder_depth": 5,
          "decoder_use_norm": "batchnorm", "decoder_channels": [256, 128, 64, 32, 16],
          "decoder_attention_type": null, "decoder_interpolation": "nearest"})"},
      {"manet/resnet18", R"({"_model_class": "MAnet", "encoder_depth": 5,
          "decoder_use_norm": "batchnorm", "decoder_channels": [256, 128, 64, 32, 16],
          "decoder_pab_channels": 64, "decoder_interpolation": "nearest"})"},
      {"fpn/resnet18", R"({"_model_class": "FPN", "encoder_depth": 5,
          "decoder_pyramid_channels": 256, "decoder_segmentation_channels": 128,
          "decoder_merge_policy": "add", "decoder_dropout": 0.2,
          "decoder_interpolation": "nearest", "upsampling": 4})"},
      {"pspnet/resnet18", R"({"_model_class": "PSPNet", "encoder_depth": 3,
          "psp_out_channels": 512, "decoder_use_norm": "batchnorm", "psp_dropout": 0.2,
          "upsampling": 8})"},
      {"deeplabv3/resnet18", R"({"_model_class": "DeepLabV3", "encoder_depth": 5,
          "encoder_output_stride": 8, "decoder_channels": 256,
          "decoder_atrous_rates": [12, 24, 36], "decoder_aspp_separable": false,
          "decoder_aspp_dropout": 0.5, "upsampling": 8})"},
      {"deeplabv3plus/resnet18", R"({"_model_class": "DeepLabV3Plus", "encoder_depth": 5,
          "encoder_output_stride": 16, "decoder_channels": 256,
          "decoder_atrous_rates": [12, 24, 36], "decoder_aspp_separable": true,
          "decoder_aspp_dropout": 0.5, "upsampling": 4})"},
  };
  for (const auto& [name, text] : defaults) {
    CAPTURE(name);
    Json config = Json::parse(text);
    config.update(Json::parse(R"({"activation": null, "aux_params": null, "classes": 1,
                                  "in_channels": 3, "encoder_name": "resnet18",
                                  "encoder_weights": null})"));
    CHECK(smp_config(parse_network(name)) == config);
    CHECK(spec_from_smp(config) == parse_network(name));
    // What is left out is as SMP has it.
    CHECK(spec_from_smp({{"_model_class", config["_model_class"]}, {"encoder_name", "resnet18"}}) ==
          parse_network(name));
  }
  for (const char* name :
       {"unet/resnet18:attention=scse,channels=128-64-32-16-16,norm=instancenorm",
        "unet/resnet18:depth=4,channels=64-32-16-8", "linknet/resnet18:norm=identity,depth=3",
        "manet/resnet34:classes=2,depth=3,attention_channels=8", "fpn/resnet18:depth=4,dropout=0.5",
        "fpn/resnet18:channels=64-32", "pspnet/mobilenet_v2:channels=64,dropout=0,depth=4",
        "deeplabv3/resnet18:output_stride=16,rates=6-12-18,separable=true,channels=32",
        "deeplabv3plus/resnet18:output_stride=8,dropout=0.25,depth=4"}) {
    const NetworkSpec spec = parse_network(name);
    CHECK(spec_from_smp(smp_config(spec)) == spec);
  }
  CHECK(spec_from_smp({{"_model_class", "DeepLabV3"}, {"upsampling", nullptr}}) ==
        parse_network("deeplabv3/resnet34"));
  const auto refused = [](const Json& config, const char* reason) {
    CHECK_THROWS_WITH_AS(spec_from_smp(config), doctest::Contains(reason), Error);
  };
  const Json instance = {{"type", "instancenorm"}, {"affine", true}};
  CHECK(smp_config(parse_network("unet/resnet34:norm=instancenorm"))["decoder_use_norm"] ==
        instance);
  const auto norm_of = [](const Json& norm) {
    return spec_from_smp({{"_model_class", "Unet"}, {"decoder_use_norm", norm}}).options.norm;
  };
  CHECK(norm_of(instance) == "instancenorm");
  CHECK(norm_of({{"type", "identity"}}) == "identity");
  CHECK(norm_of(false) == "identity");
  CHECK(norm_of(true) == "batchnorm");
  refused({{"_model_class", "Unet"}, {"decoder_use_norm", {{"type", "batchnorm"}, {"eps", 1}}}},
          "expected a name for \"norm\"");
  refused({{"_model_class", "FPN"}, {"encoder_depth", 4}, {"upsampling", 4}},
          "expected upsampling 2, so that the logits are as large as the image, got 4");
  refused({{"_model_class", "FPN"}, {"decoder_merge_policy", "cat"}},
          "decoder_merge_policy \"add\"");
  refused({{"_model_class", "DeepLabV3"}, {"encoder_output_stride", 32}},
          "output_stride of 8 or 16");
  refused({{"_model_class", "PSPNet"}, {"psp_dropout", "much"}}, "a number for \"dropout\"");
}

TEST_CASE("a damaged folder is refused by the name of its file") {
  const Folder folder;
  const auto network = make_network(parse_network("linknet/mobilenet_v3_small_075"), 5);
  write_smp_folder(folder.path, *network);
  const auto refused = [&](const std::string& config, const char* reason) {
    std::ofstream(folder.path / "config.json") << config;
    CHECK_THROWS_WITH_AS(read_smp_folder(folder.path), doctest::Contains(reason), Error);
    CHECK_THROWS_WITH_AS(read_smp_folder(folder.path), doctest::Contains("config.json: "), Error);
  };
  refused("{", "expected a file of JSON");
  refused("", "expected a file of JSON");
  refused(std::string(250'000, '['), "nested at most");
  refused("[]", "_model_class");
  refused(R"({"_model_class": 3})", "_model_class");
  std::ofstream(folder.path / "config.json")
      << R"({"_model_class": "Linknet", "encoder_name": "resnet18"})";
  CHECK_THROWS_WITH_AS(read_smp_folder(folder.path), doctest::Contains("model.safetensors: "),
                       Error);
}

TEST_CASE("every name beginning with module. is said where nothing matches") {
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2"), 1);
  std::vector<NamedTensor> state = state_dict(*network);
  CHECK(match_state(*network, state).fits());
  for (NamedTensor& tensor : state) tensor.name = "module." + tensor.name;
  const StateMatch match = match_state(*network, state);
  CHECK(match.matched.empty());
  CHECK(match.prefix == "module.");
  CHECK_THROWS_WITH_AS(load_state_dict(*network, state, "file"),
                       doctest::Contains("every name begins with \"module.\""), Error);
  std::erase_if(state, [](const NamedTensor& t) { return t.name.ends_with("tracked"); });
  for (NamedTensor& tensor : state) tensor.name.erase(0, 7);
  CHECK_FALSE(match_state(*network, state).fits());
  CHECK(match_state(*network, state, true).fits());
}

}  // namespace
}  // namespace decant::nn
