#include "data/augment/albumentations.h"

#include <algorithm>
#include <string>

#include "data/augment/transform.h"
#include "engine/core/error.h"
#include "engine/core/shown.h"

namespace decant::data {
namespace {

using nlohmann::json;

// The last part of albumentations.augmentations.crops.transforms.RandomCrop.
std::string class_name(const json& entry) {
  check(entry.is_object() && entry.contains("__class_fullname__") &&
            entry["__class_fullname__"].is_string(),
        "augmentation: expected an object with __class_fullname__, got ", shown(entry.dump()));
  const auto name = entry["__class_fullname__"].get<std::string>();
  return name.substr(name.rfind('.') + 1);
}

Version version_of(const json& dictionary) {
  const json given = dictionary.value("__version__", json("1.3.1"));
  const std::string version = given.is_string() ? given.get<std::string>() : given.dump();
  if (version.starts_with("2.")) return Version::v2;
  const bool first = std::ranges::any_of(std::vector<std::string>{"1.0.", "1.1.", "1.2.", "1.3."},
                                         [&](const auto& v) { return version.starts_with(v); });
  check(first, "augmentation: expected a pipeline of Albumentations 1.0 to 1.3 or 2.x, whose ",
        "meanings of arguments are followed here, got version ", version);
  return Version::v1;
}

json short_list(const json& entries, Version version) {
  json list = json::array();
  for (json entry : entries) {
    const std::string name = class_name(entry);
    if (name == "ToTensorV2") continue;  // changes the order of axes for PyTorch, nothing else
    entry.erase("__class_fullname__");
    entry["name"] = name;
    if (version == Version::v2) entry["version"] = 2;
    if (entry.contains("transforms") && entry["transforms"].is_array())
      entry["transforms"] = short_list(entry["transforms"], version);
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

bool is_dictionary(const json& given) {
  return given.is_object() && given.contains("transform");
}

json short_form(const json& dictionary) {
  const Version version = version_of(dictionary);
  const json& compose = dictionary["transform"];
  check(class_name(compose) == "Compose" && compose.contains("transforms") &&
            compose["transforms"].is_array(),
        "augmentation: expected a Compose with transforms, got ", class_name(compose));
  check(compose.value("p", json(1)) == json(1.0), "augmentation: expected Compose with p = 1, got ",
        compose.value("p", json(1)).dump());
  return short_list(compose["transforms"], version);
}

}  // namespace decant::data
