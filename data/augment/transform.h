#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/augment.h"

namespace decant::data {

/// What a transform does to the position of pixels decides which views get it (see ViewPair).
enum class Role {
  framing,    ///< chooses the part and size of the image: shared by both views
  variation,  ///< makes the strong view differ from the weak one
  normalize,  ///< the values the network expects: in both views
};

/// What a device does to an image, in this order (engine/ops/augment.h).
enum class DeviceStep { resize, crop, flip, move, noise, dropout, normalize, none };

/// One step of a pipeline. To add one: a class in a file of its own beside this one, with a
/// `const RegisterTransform<Class> kRegistered("Name", default_p)` at its end.
class Transform {
 public:
  virtual ~Transform() = default;
  virtual Role role() const { return Role::variation; }
  /// Whether the values must still be 0 .. 255, so that it may not follow Normalize.
  virtual bool needs_grey_levels() const { return false; }
  /// Changes image and mask, and puts the map of positions it applied before frame.geometry.
  /// All randomness comes from `key`, except element 0 of its stream, by which the pipeline decides
  /// whether to apply the transform at all.
  virtual void apply(Frame& frame, const RngKey& key) const = 0;

  /// The size of what apply() makes of an image of size `source`; throws Error as it does.
  virtual ImageSize frame_size(ImageSize source) const { return source; }

  /// Which of the device's steps it is; none: it runs on the CPU only, and with it the pipeline.
  virtual DeviceStep device_step() const { return DeviceStep::none; }
  /// Writes down what apply() would do with this key, and draws nothing that apply() does not.
  virtual void plan(PlannedFrame&, const RngKey&) const {}
};

/// Reads a transform's arguments from JSON; what was read, defaults included, is `resolved()`.
/// Every reader throws Error naming transform and argument where the type or value is wrong.
class Arguments {
 public:
  struct Range {
    double low, high;
  };

  Arguments(std::string transform, nlohmann::json given);

  double number(const char* name, double fallback);
  std::optional<double> optional_number(const char* name, std::optional<double> fallback);
  bool flag(const char* name, bool fallback);
  int integer(const char* name, std::optional<int> fallback = {});
  std::string word(const char* name, const char* fallback);
  std::vector<double> numbers(const char* name, std::vector<double> fallback);
  /// A pair, or one number v as (-v, v), as (0, v) where `from_zero`.
  Range range(const char* name, Range fallback, bool from_zero = false);
  /// An argument that has no effect here: taken and forgotten.
  void ignore(const char* name);

  /// Throws Error naming an argument that nobody read, with the nearest one that was.
  void finish() const;
  const nlohmann::json& resolved() const { return resolved_; }

 private:
  [[noreturn]] void fail(const char* name, const char* expected) const;
  const nlohmann::json* take(const char* name);

  std::string transform_;
  nlohmann::json given_;
  nlohmann::json resolved_ = nlohmann::json::object();
  std::vector<std::string> known_;
};

using MakeTransform = std::shared_ptr<const Transform> (*)(Arguments&);
void register_transform(std::string_view name, double default_p, MakeTransform make);

template <class T>
struct RegisterTransform {
  RegisterTransform(std::string_view name, double default_p) {
    register_transform(name, default_p, [](Arguments& arguments) {
      return std::shared_ptr<const Transform>(std::make_shared<T>(arguments));
    });
  }
};

}  // namespace decant::data
