// The list of all transforms, and how entries of a pipeline become them.
#include <map>

#include "data/augment/transform.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {
namespace {

using nlohmann::json;

struct Registered {
  double default_p;
  MakeTransform make;
};

std::map<std::string, Registered, std::less<>>& registry() {
  static std::map<std::string, Registered, std::less<>> transforms;
  return transforms;
}

Version read_version(const std::string& name, const json& entry) {
  const json version = entry.value("version", json(1));
  check(version == 1 || version == 2, name, ": expected a version of 1 (Albumentations 1.3.1) or ",
        "2 (2.0.8), got ", version.dump());
  return version == 2 ? Version::v2 : Version::v1;
}

Step read_step(json entry) {
  check(entry.is_object() && entry.contains("name") && entry["name"].is_string(),
        "augmentation: expected an object with a name, got ", entry.dump());
  const auto name = entry["name"].get<std::string>();
  const auto found = registry().find(name);
  if (found == registry().end()) {
    const std::string hint = did_you_mean(name, transform_names(), '\'');
    throw Error(str("augmentation: unknown transform '", name, "'",
                    hint.empty() ? "; data/README.md lists those that are known" : hint));
  }
  const Version version = read_version(name, entry);
  entry.erase("name");
  entry.erase("version");

  Arguments arguments(name, std::move(entry), version);
  double p = arguments.number("p", found->second.default_p);
  check(p >= 0 && p <= 1, name, ": expected p in 0 .. 1, got ", p);
  if (!arguments.is_v2() && arguments.flag("always_apply", false)) p = 1;
  auto transform = found->second.make(arguments);
  arguments.finish();

  json resolved = arguments.resolved();
  resolved.erase("always_apply");
  resolved["p"] = p;
  resolved["name"] = name;
  if (version == Version::v2 && arguments.version_matters()) resolved["version"] = 2;
  return {name, p, std::move(resolved), std::move(transform)};
}

}  // namespace

void register_transform(std::string_view name, double default_p, MakeTransform make) {
  registry().emplace(name, Registered{default_p, make});
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : registry()) names.push_back(name);
  return names;
}

std::vector<Step> read_steps(const json& list) {
  check(list.is_array(), "augmentation: expected a list of transforms or Albumentations' to_dict, ",
        "got ", list.type_name());
  std::vector<Step> steps;
  for (const json& entry : list) {
    try {
      steps.push_back(read_step(entry));
    } catch (const Error& error) {
      const std::string_view message = error.what();
      constexpr std::string_view kRoom = "augmentation: ";
      throw Error(str(kRoom, "entry ", steps.size() + 1, ": ",
                      message.starts_with(kRoom) ? message.substr(kRoom.size()) : message));
    }
  }
  return steps;
}

bool Step::applies(const RngKey& own) const {
  return transform->is_certain() || Rng(own).uniform(0) < p;
}

void Step::apply(Frame& frame, const RngKey& own) const {
  if (applies(own)) transform->apply(frame, own);
}

}  // namespace decant::data
