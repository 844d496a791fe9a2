#include "data/augment.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/augment/albumentations.h"
#include "data/augment/transform.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {

using nlohmann::json;

namespace {

constexpr int kMostNested = 64;

// Compositions are read, applied and written out by recursion. This walks without.
void expect_shallow(const json& given) {
  std::vector<std::pair<const json*, int>> open = {{&given, 0}};
  while (!open.empty()) {
    const auto [value, depth] = open.back();
    open.pop_back();
    check(depth <= kMostNested, "augmentation: expected JSON nested at most ", kMostNested,
          " deep, got a deeper one");
    if (value->is_structured())
      for (const json& inner : *value) open.emplace_back(&inner, depth + 1);
  }
}

}  // namespace

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
  expect_shallow(given);
  Pipeline pipeline;
  bool normalized = false;
  for (Step& step : read_steps(is_dictionary(given) ? short_form(given) : given)) {
    check(!(normalized && step.transform->needs_grey_levels()), "augmentation: expected ",
          step.name, " before Normalize, got it after: it works on grey levels of 0 .. 255");
    normalized |= step.transform->role() == Role::normalize;
    pipeline.steps_.push_back(std::make_shared<Step>(std::move(step)));
  }
  return pipeline;
}

Pipeline Pipeline::preset(std::string_view name, int size) {
  const auto names = preset_names();
  if (std::ranges::find(names, name) == names.end())
    throw Error(str("augmentation: expected one of none, weak, strong, strong_flip, got '", name,
                    "'", did_you_mean(name, names, '\'')));
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

void Pipeline::apply_step(size_t index, Frame& frame, const RngKey& key) const {
  steps_[index]->apply(frame, key.part(std::to_string(index)));
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

std::string Pipeline::not_affine() const {
  for (const auto& step : steps_)
    if (!step->transform->is_affine()) return step->name;
  return "";
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
    if (steps_[i]->applies(own)) steps_[i]->transform->plan(frame, own);
    if (steps_[i]->transform->role() == Role::framing) frame.framing = frame.geometry;
  }
  return frame;
}

}  // namespace decant::data
