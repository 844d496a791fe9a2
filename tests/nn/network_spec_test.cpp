#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "nn/network.h"

namespace decant::nn {
namespace {

TEST_CASE("specs go to text and JSON and back") {
  for (const char* text :
       {"unet/resnet18", "thin_unet", "thin_unet:width=8,depth=4",
        "linknet/mobilenet_v3_small_075:in_channels=1,classes=3",
        "unet/resnet18:channels=128-64-32-16-8,norm=identity",
        "unetplusplus/resnet18:depth=4,attention=scse", "manet/resnet18:attention_channels=32",
        "pspnet/resnet18:depth=4", "fpn/resnet18:channels=64-32,dropout=0.1",
        "deeplabv3/resnet18:output_stride=16,rates=6-12-18,separable=true"}) {
    const NetworkSpec spec = parse_network(text);
    CHECK(spec.name() == text);
    CHECK(parse_network(to_json(spec).dump()) == spec);
  }
  CHECK(to_json(parse_network("linknet/mobilenet_v3_small_075")) ==
        nlohmann::json::parse(R"({"decoder": "linknet", "encoder": "mobilenet_v3_small_075",
                                  "in_channels": 3, "classes": 1})"));
}

TEST_CASE("an encoder too thin for Linknet is refused before it runs") {
  CHECK_THROWS_WITH_AS(make_network(parse_network("linknet/thin:width=2"), 1),
                       doctest::Contains("linknet: expected at least 4 channels"), Error);
}

TEST_CASE("unknown names and keys are refused with the nearest known one") {
  const auto message = [](const char* text) {
    try {
      parse_network(text);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK(message("unit/resnet18").find("did you mean \"unet\"?") != std::string::npos);
  CHECK(message("Unet++/resnet18").find("did you mean \"unetplusplus\"?") != std::string::npos);
  // None that is near is none that was meant.
  CHECK_THROWS_WITH_AS(make_network({.decoder = "unet", .encoder = "densenet121"}),
                       doctest::Contains("there is no encoder \"densenet121\". Known: "), Error);
  CHECK(message("unet/resnet18:depth=4,depth=5") ==
        "network: expected depth once, got it twice in unet/resnet18:depth=4,depth=5");
  CHECK(message("unet/resnet18:in_channels=99999999999").find("at most 65536, got 99999999999") !=
        std::string::npos);
  CHECK(message("thin_unet:widht=3").find("did you mean \"width\"?") != std::string::npos);
  CHECK(message("unet/resnet18:classes=").find("expected a whole number") != std::string::npos);
  CHECK(message("unet/resnet18:classes=0").find("at least 1, got 0") != std::string::npos);
  CHECK(message("unet/resnet18:atention=scse").find("did you mean \"attention\"?") !=
        std::string::npos);
  CHECK(message("unet/resnet18:attention=sce").find("did you mean \"scse\"?") != std::string::npos);
  CHECK(message("unet/resnet18:rates=1-2-3") ==
        "network: unet has no option rates; it has channels, norm, attention");
  CHECK(message("thin_unet:dropout=0.5") ==
        "network: thin_unet has no option dropout; it has none");
  CHECK(message("linknet/resnet18:channels=4").find("it has norm") != std::string::npos);
  CHECK(message("unet/resnet18:depth=4,channels=256-128-64-32-16") ==
        "unet: expected 4 channels of 1 to 65536, such as 128-64-32-16, got 256-128-64-32-16");
  CHECK(message("unet/resnet18:channels=8-").find("a list of whole numbers, got \"channels=8-\"") !=
        std::string::npos);
  CHECK(message("unet/resnet18:channels=64-32-16-8-0").find("1 to 65536") != std::string::npos);
  CHECK(message("deeplabv3/resnet18:output_stride=32").find("8 or 16, got 32") !=
        std::string::npos);
  CHECK(message("deeplabv3/resnet18:rates=6-12").find("expected 3 rates") != std::string::npos);
  CHECK(message("deeplabv3/resnet18:separable=yes").find("true or false") != std::string::npos);
  CHECK(message("fpn/resnet18:dropout=1").find("below 1, got 1") != std::string::npos);
  CHECK(message("fpn/resnet18:width=8").find("width is a key of thin_unet") != std::string::npos);
  CHECK(message("unet/resnet18:depth=40").find("depth of at most 16") != std::string::npos);
  CHECK(message("manet/resnet18:attention_channels=0").find("at least 1") != std::string::npos);
  CHECK(message(R"({"decoder": "unet", "encoder": "resnet18", "channels": [1, "2"]})")
            .find("expected a list of whole numbers for \"channels\"") != std::string::npos);
  const auto refused = [](const char* text, const char* reason) {
    CHECK_THROWS_WITH_AS(make_network(parse_network(text)), doctest::Contains(reason), Error);
  };
  refused("fpn/resnet18:channels=64-40", "channels of its branches that 32 groups divide, got 40");
  refused("unet/resnet18:channels=64-32-16-8-4,attention=scse", "at least 16 channels");
  refused("fpn/thin:depth=2", "fpn: expected an encoder of a depth of at least 3, got 2");
  refused("deeplabv3/thin", "thin cannot");
  CHECK(message("unet").find("expected an encoder for unet") != std::string::npos);
  CHECK(message("{\"decoder\": 3}").find("expected a name") != std::string::npos);
  CHECK(message("{\"clases\": 3}").find("did you mean \"classes\"?") != std::string::npos);
  CHECK(message("{\"decoder\"").find("expected JSON") != std::string::npos);
  CHECK(message(R"({"decoder": "unet", "depth": 4, "depth": 5})").find("\"depth\" once, got it") !=
        std::string::npos);
  CHECK(message("nowhere.json").find("cannot read nowhere.json") != std::string::npos);
  CHECK_THROWS_WITH_AS(make_network({.decoder = "unet", .encoder = "resnet81"}),
                       doctest::Contains("did you mean \"resnet"), Error);
  const auto network = make_network(parse_network("thin_unet"));
  CHECK_THROWS_WITH_AS(network->forward(Variable(Tensor::zeros({1, 8, 8, 1}))),
                       "thin_unet: expected images [N, H, W, 3], got [1, 8, 8, 1]", Error);
}

}  // namespace
}  // namespace decant::nn
