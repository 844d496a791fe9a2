#include "data/augment.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

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

// The last part of albumentations.augmentations.crops.transforms.RandomCrop.
std::string class_name(const json& entry) {
  check(entry.is_object() && entry.contains("__class_fullname__") &&
            entry["__class_fullname__"].is_string(),
        "augmentation: expected an object with __class_fullname__, got ", entry.dump());
  const auto name = entry["__class_fullname__"].get<std::string>();
  return name.substr(name.rfind('.') + 1);
}

// Albumentations' to_dict as our short form.
json short_form(const json& dictionary) {
  const json version = dictionary.value("__version__", json("1.3.1"));
  check(version.is_string() && version.get<std::string>().starts_with("1."),
        "augmentation: expected a pipeline of Albumentations 1.x, whose meaning of arguments is ",
        "followed here, got version ", version.dump());
  const json& compose = dictionary["transform"];
  check(class_name(compose) == "Compose" && compose.contains("transforms") &&
            compose["transforms"].is_array(),
        "augmentation: expected a Compose with transforms, got ", class_name(compose));
  check(compose.value("p", json(1)) == json(1.0), "augmentation: expected Compose with p = 1, got ",
        compose.value("p", json(1)).dump());
  json list = json::array();
  for (json entry : compose["transforms"]) {
    const std::string name = class_name(entry);
    if (name == "ToTensorV2") continue;  // changes the order of axes for PyTorch, nothing else
    entry.erase("__class_fullname__");
    entry["name"] = name;
    list.push_back(std::move(entry));
  }
  return list;
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

struct Pipeline::Step {
  std::string name;
  double p;
  json arguments;
  std::shared_ptr<const Transform> transform;
};

Frame::Frame(const Image& picture, const Image& mask_picture)
    : FrameShape{picture.width, picture.height, picture.channels},
      image(picture.pixels.begin(), picture.pixels.end()),
      mask(mask_picture.pixels) {
  check(mask.empty() || (mask_picture.width == width && mask_picture.height == height &&
                         mask_picture.channels == 1),
        "Frame: expected a mask of one channel and ", width, " x ", height, ", got ",
        mask_picture.width, " x ", mask_picture.height, " x ", mask_picture.channels);
}

Tensor Frame::image_tensor() const {
  return Tensor::of<float>({1, height, width, channels}, image);
}

Pipeline Pipeline::from_json(const json& given) {
  const json list = given.is_object() && given.contains("transform") ? short_form(given) : given;
  check(list.is_array(), "augmentation: expected a list of transforms or Albumentations' to_dict, ",
        "got ", given.type_name());
  Pipeline pipeline;
  bool normalized = false;
  for (json entry : list) {
    check(entry.is_object() && entry.contains("name") && entry["name"].is_string(),
          "augmentation: expected an object with a name, got ", entry.dump());
    const auto name = entry["name"].get<std::string>();
    const auto it = registry().find(name);
    if (it == registry().end())
      throw Error(str("augmentation: unknown transform '", name, "', did you mean '",
                      nearest_name(name, transform_names()), "'?"));
    entry.erase("name");
    Arguments arguments(name, std::move(entry));
    double p = arguments.number("p", it->second.default_p);
    check(p >= 0 && p <= 1, name, ": expected p in 0 .. 1, got ", p);
    if (arguments.flag("always_apply", false)) p = 1;
    auto transform = it->second.make(arguments);
    check(!(normalized && transform->needs_grey_levels()), "augmentation: expected ", name,
          " before Normalize, got it after: it works on grey levels of 0 .. 255");
    normalized |= transform->role() == Role::normalize;
    arguments.finish();
    json resolved = arguments.resolved();
    resolved.erase("always_apply");
    resolved["p"] = p;
    resolved["name"] = name;
    pipeline.steps_.push_back(
        std::make_shared<Step>(Step{name, p, std::move(resolved), std::move(transform)}));
  }
  return pipeline;
}

Pipeline Pipeline::preset(std::string_view name, int size) {
  const auto names = preset_names();
  if (std::ranges::find(names, name) == names.end())
    throw Error(str("augmentation: expected one of none, weak, strong, strong_flip, got '", name,
                    "', did you mean '", nearest_name(name, names), "'?"));
  const int larger = (size * 9 + 4) / 8;  // size * 1.125, rounded
  const auto resize_to = [](int s) {
    return json{{"name", "Resize"}, {"height", s}, {"width", s}};
  };
  json list = json::array();
  if (name == "none") {
    list.push_back(resize_to(size));
  } else {
    list.push_back(resize_to(larger));
    list.push_back({{"name", "RandomCrop"}, {"height", size}, {"width", size}});
  }
  if (name == "strong_flip") list.push_back({{"name", "HorizontalFlip"}});
  if (name == "strong" || name == "strong_flip")
    for (const char* transform : {"ShiftScaleRotate", "GaussNoise", "PixelDropout"})
      list.push_back({{"name", transform}});
  list.push_back({{"name", "Normalize"}});
  return from_json(list);
}

std::vector<std::string> Pipeline::preset_names() {
  return {"none", "weak", "strong", "strong_flip"};
}

Pipeline Pipeline::evaluation(int size) const {
  // Frames of several sizes make no batch, and a mix of normalised and other images is not what
  // evaluation shows the network.
  for (const auto& step : steps_)
    check(step->p == 1 || step->transform->role() == Role::variation, "augmentation: expected ",
          step->name, " with p = 1, got p = ", step->p,
          ": what frames or normalises does so to every image");
  const auto normalizes = std::ranges::count_if(
      steps_, [](const auto& step) { return step->transform->role() == Role::normalize; });
  check(normalizes == 1 && steps_.back()->transform->role() == Role::normalize,
        "augmentation: expected exactly one Normalize, as the last step, got ", normalizes, " in ",
        to_json().dump());
  return from_json(json::array(
      {{{"name", "Resize"}, {"height", size}, {"width", size}}, steps_.back()->arguments}));
}

json Pipeline::to_json() const {
  json list = json::array();
  for (const auto& step : steps_) list.push_back(step->arguments);
  return list;
}

bool Pipeline::applies(size_t index, const RngKey& own) const {
  return Rng(own).uniform(0) < steps_[index]->p;
}

void Pipeline::apply_step(size_t index, Frame& frame, const RngKey& key) const {
  const RngKey own = key.part(std::to_string(index));
  if (applies(index, own)) steps_[index]->transform->apply(frame, own);
}

ImageSize Pipeline::frame_size(ImageSize source) const {
  for (const auto& step : steps_) source = step->transform->frame_size(source);
  return source;
}

void Pipeline::apply(Frame& frame, const RngKey& key) const {
  for (size_t i = 0; i < steps_.size(); ++i) apply_step(i, frame, key);
}

ViewPair Pipeline::apply_pair(const Frame& source, const RngKey& key) const {
  ViewPair views{{}, source, {}};
  const auto role = [](const auto& step) { return step->transform->role(); };
  const auto framed =
      std::ranges::find_if(steps_, [&](const auto& step) { return role(step) != Role::framing; });
  const auto late = std::find_if(framed, steps_.end(),
                                 [&](const auto& step) { return role(step) == Role::framing; });
  if (late != steps_.end())
    throw Error(str("augmentation: expected what frames the image (Resize, PadIfNeeded, ",
                    "RandomCrop) before all else, got ", (*late)->name, " after ", (*framed)->name,
                    "; the teacher's view would not get it"));
  size_t i = 0;
  for (; i < steps_.size() && role(steps_[i]) == Role::framing; ++i)
    apply_step(i, views.student, key);
  views.teacher = views.student;
  for (; i < steps_.size(); ++i) {
    apply_step(i, views.student, key);
    if (role(steps_[i]) == Role::normalize) apply_step(i, views.teacher, key);
  }
  check(views.teacher.width == views.student.width && views.teacher.height == views.student.height,
        "augmentation: expected views of one size, got the teacher's ", views.teacher.width, " x ",
        views.teacher.height, " and the student's ", views.student.width, " x ",
        views.student.height);
  views.teacher_to_student = views.student.geometry * views.teacher.geometry.inverse();
  return views;
}

std::string Pipeline::only_on_cpu() const {
  const Step* before = nullptr;
  for (const auto& step : steps_) {
    const DeviceStep what = step->transform->device_step();
    if (what == DeviceStep::none || (what == DeviceStep::normalize && step->p < 1))
      return str(step->name, " with these arguments");
    if (before != nullptr && what <= before->transform->device_step())
      return str(step->name, " after ", before->name);
    before = step.get();
  }
  return "";
}

PlannedFrame Pipeline::plan(const FrameShape& source, const RngKey& key) const {
  const std::string refused = only_on_cpu();
  check(refused.empty(), "Pipeline::plan: expected what a device does, got ", refused);
  PlannedFrame frame;
  static_cast<FrameShape&>(frame) = source;
  frame.plan.source_h = source.height;
  frame.plan.source_w = source.width;
  for (int32_t y = 0; y < source.height; ++y) frame.plan.rows.push_back({y, y, y, 0});
  for (int32_t x = 0; x < source.width; ++x) frame.plan.columns.push_back({x, x, x, 0});
  frame.framing = source.geometry;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const RngKey own = key.part(std::to_string(i));
    if (applies(i, own)) steps_[i]->transform->plan(frame, own);
    if (steps_[i]->transform->role() == Role::framing) frame.framing = frame.geometry;
  }
  return frame;
}

}  // namespace decant::data
