// Our transforms beside golden images of Albumentations 1.3.1 and 2.0.8, which
// tests/parity/make_transforms.py writes, and its dictionaries.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/augment/coarse_dropout.h"
#include "data/augment/distortion.h"
#include "engine/io/safetensors.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;
using nlohmann::json;

namespace {

constexpr const char* kVersions[] = {"1.3.1", "2.0.8"};

struct Golden {
  explicit Golden(const std::string& words)
      : file(read_safetensors(std::filesystem::path(DECANT_SOURCE_DIR) /
                              "tests/parity/albumentations" / (words + ".safetensors"))),
        cases(json::parse(file.metadata.at("cases"))),
        version(words.starts_with("2.") ? Version::v2 : Version::v1) {}

  Image image(const std::string& name) const {
    const Tensor& t = file.at(name);
    const int channels = t.shape().rank() == 3 ? static_cast<int>(t.shape()[2]) : 1;
    Image image(static_cast<int>(t.shape()[1]), static_cast<int>(t.shape()[0]), channels);
    std::ranges::copy(t.values<uint8_t>(), image.pixels.begin());
    return image;
  }
  std::vector<float> floats(const std::string& name) const {
    const auto values = file.at(name).values<float>();
    return {values.begin(), values.end()};
  }

  TensorFile file;
  json cases;
  Version version;
};

void apply_elastic(const Golden& golden, const json& of, const Sampling& sampling, Frame& frame) {
  const auto name = of["name"].get<std::string>();
  if (!of["moves"].is_null()) {
    const Affine inverse =
        elastic_affine(frame, of["moves"].get<std::array<double, 6>>()).inverse();
    resample(frame, sampling, inverse);
  }
  const ElasticField field{.alpha = of["alpha"],
                           .sigma = of["sigma"],
                           .approximate = of["approximate"],
                           .version = golden.version};
  const bool both = std::ranges::any_of(
      golden.file.tensors, [&](const NamedTensor& t) { return t.name == name + "/y"; });
  resample(frame, sampling,
           field.map(frame.width, frame.height, golden.floats(name + "/x"),
                     both ? golden.floats(name + "/y") : std::vector<float>{}));
}

void apply_grid(const Golden& golden, const json& of, const Sampling& sampling, Frame& frame) {
  const auto positions = [&](int size, const char* axis) {
    return grid_positions(size, of[axis], of["normalized"], golden.version);
  };
  const std::vector<float> x = positions(frame.width, "x");
  const std::vector<float> y = positions(frame.height, "y");
  resample(frame, sampling, [&](int i, int j) {
    return std::array<double, 2>{x[static_cast<size_t>(i)], y[static_cast<size_t>(j)]};
  });
}

/// A case's transform with what was drawn for it.
void apply_case(const Golden& golden, const json& of, Frame& frame) {
  const std::string what = of.value("inject", "");
  if (what.empty()) return Pipeline::from_json(of["dictionary"]).apply(frame, {});
  if (what == "holes") {
    std::vector<Hole> holes;
    for (const json& h : of["holes"]) holes.push_back({h[0], h[1], h[2], h[3]});
    const json& mask = of["fill_mask"];
    return fill_holes(frame, holes, of["fill"],
                      mask.is_null() ? std::nullopt : std::optional(mask != 0));
  }
  const Sampling sampling{.outside = {.border = static_cast<Border>(of["border"].get<int>()),
                                      .fill = {50},
                                      .fill_mask = true}};
  what == "elastic" ? apply_elastic(golden, of, sampling, frame)
                    : apply_grid(golden, of, sampling, frame);
}

struct Difference {
  double most = 0;       ///< grey levels
  double above_one = 0;  ///< share of values
};

Difference between(const std::vector<float>& ours, const Image& theirs) {
  Difference found;
  REQUIRE(ours.size() == theirs.pixels.size());
  int above = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double apart = std::fabs(std::nearbyint(ours[i]) - theirs.pixels[i]);
    found.most = std::max(found.most, apart);
    above += apart > 1;
  }
  found.above_one = above / static_cast<double>(ours.size());
  return found;
}

double differing(const std::vector<uint8_t>& ours, const Image& theirs) {
  REQUIRE(ours.size() == theirs.pixels.size());
  int count = 0;
  for (size_t i = 0; i < ours.size(); ++i) count += ours[i] != theirs.pixels[i];
  return count / static_cast<double>(ours.size());
}

}  // namespace

TEST_CASE("images are Albumentations' to a grey level in 99.5 % of pixels, to four in all") {
  for (const std::string version : kVersions) {
    const Golden golden(version);
    std::string worst;
    Difference all;
    double masks = 0;
    for (const json& of : golden.cases) {
      const auto name = of["name"].get<std::string>();
      CAPTURE(version);
      CAPTURE(name);
      Frame frame(golden.image("input/" + of["image"].get<std::string>()),
                  golden.image("input/mask"));
      apply_case(golden, of, frame);
      if (golden.file.at(name + "/image").dtype() == DType::f32) {  // Normalize
        const std::vector<float> theirs = golden.floats(name + "/image");
        REQUIRE(frame.image.size() == theirs.size());
        for (size_t i = 0; i < theirs.size(); ++i)
          REQUIRE(std::fabs(frame.image[i] - theirs[i]) <= 4e-6);
        continue;
      }
      const Difference found = between(frame.image, golden.image(name + "/image"));
      const double mask = differing(frame.mask, golden.image(name + "/mask"));
      CHECK(found.above_one <= 0.005);
      CHECK(found.most <= 4);
      CHECK(mask <= 0.002);
      if (found.above_one >= all.above_one) worst = name;
      all = {std::max(all.most, found.most), std::max(all.above_one, found.above_one)};
      masks = std::max(masks, mask);
    }
    MESSAGE(version, ": at most ", all.most, " levels apart, above one at most ",
            100 * all.above_one, " % (", worst, "), masks at most ", 100 * masks, " %");
  }
}

TEST_CASE("a pipeline of all known transforms is read from either version's dictionary") {
  for (const std::string version : kVersions) {
    CAPTURE(version);
    const json dictionary = json::parse(Golden(version).file.metadata.at("everything"));
    const Pipeline pipeline = Pipeline::from_json(dictionary);
    const json list = pipeline.to_json();
    CHECK(list.size() == 7);
    CHECK(list[5]["transforms"].size() == 14);
    CHECK(Pipeline::from_json(list).to_json() == list);
    CHECK(pipeline.not_affine() == "SomeOf");
    // A teacher's Normalize and its student's are one, whichever version either was read from.
    CHECK(list[6] == Pipeline::preset("none", 8).to_json()[1]);
    // The same after a way through our short form, versions in all entries included.
    Frame a(random_image(70, 66, 3, 1), ones(disc(70, 66, 30, 30, 20)));
    Frame b = a;
    const RngKey key = RngKey::of(3, "test");
    pipeline.apply(a, key);
    Pipeline::from_json(list).apply(b, key);
    CHECK(a.width == 48);
    CHECK(a.image == b.image);
    CHECK(a.mask == b.mask);
  }
}

TEST_CASE("what the other version says, or nobody, is an error with a suggestion") {
  const auto message = [](const char* version, const json& transform) {
    const json compose = {
        {"__class_fullname__", "Compose"}, {"p", 1.0}, {"transforms", json::array({transform})}};
    return message_of(
        [&] { Pipeline::from_json({{"__version__", version}, {"transform", compose}}); });
  };
  const auto entry = [](const char* name, const json& arguments) {
    json transform = arguments;
    transform["__class_fullname__"] = name;
    transform["p"] = 0.5;
    return transform;
  };
  const json deviation = {{"std_range", {0.1, 0.2}}};
  CHECK(message("2.0.8", entry("GaussNoise", deviation)).empty());
  CHECK(contains(message("1.3.1", entry("GaussNoise", deviation)), "unknown argument 'std_range'"));
  CHECK(contains(message("2.0.8", entry("GaussNoise", {{"var_limit", {10, 50}}})), "var_limit"));
  CHECK(contains(message("2.0.8", entry("VerticalFlap", {})), "did you mean 'VerticalFlip'?"));
  CHECK(contains(message("2.0.8", entry("Affine", {{"mode", 4}})), "unknown argument 'mode'"));
  CHECK(contains(message("1.3.1", entry("Affine", {{"fit_output", true}})), "fit_output"));
  CHECK(contains(message("1.3.1", entry("ElasticTransform", {{"sigmaa", 4}})), "'sigma'"));
  CHECK(contains(message("1.4.24", entry("VerticalFlip", {})), "1.4.24"));
  const json child = entry("MedianBlurr", {});
  CHECK(contains(message("2.0.8", entry("OneOf", {{"transforms", json::array({child})}})),
                 "did you mean 'MedianBlur'?"));
  const json crop = entry("RandomCrop", {{"height", 8}, {"width", 8}});
  CHECK(contains(message("2.0.8", entry("OneOf", {{"transforms", json::array({crop})}})),
                 "RandomCrop, which belongs into the list itself"));
}
