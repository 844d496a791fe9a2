#pragma once

#include <cstdint>
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

/// Whose arguments a transform has: two generations of Albumentations give the same names other
/// meanings (noise as a variance or as a share of the range, other borders, one scale or two).
enum class Version : uint8_t {
  v1 = 1,  ///< 1.3.1; what our short form means unless an entry says "version": 2
  v2 = 2,  ///< 2.0.8
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
  /// Whether it is applied whatever its p.
  virtual bool is_certain() const { return false; }
  /// Whether frame.geometry tells all that it does to positions.
  virtual bool is_affine() const { return true; }
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

/// One entry of a pipeline, or of a transform that is made of others.
struct Step {
  std::string name;
  double p;                  ///< the chance that it is applied
  nlohmann::json arguments;  ///< all of them written out, with name and p
  std::shared_ptr<const Transform> transform;

  /// `own`: the key of this step alone.
  bool applies(const RngKey& own) const;
  void apply(Frame& frame, const RngKey& own) const;
};

/// The entries of a list in our short form. Throws Error as Pipeline::from_json.
std::vector<Step> read_steps(const nlohmann::json& list);

/// Reads a transform's arguments from JSON; what was read, defaults included, is `resolved()`.
/// Every reader throws Error naming transform and argument where the type or value is wrong.
class Arguments {
 public:
  struct Range {
    double low, high;
    bool operator==(const Range&) const = default;
  };
  struct Axes {
    Range x, y;
  };

  Arguments(std::string transform, nlohmann::json given, Version version);

  const std::string& transform() const { return transform_; }
  bool is_v2() const { return version_ == Version::v2; }
  /// Says that what both versions have in common is all that there is: written out, the transform
  /// is the same, whichever it was read from.
  void mean_the_same() { version_matters_ = false; }
  bool version_matters() const { return version_matters_; }

  double number(const char* name, double fallback);
  std::optional<double> optional_number(const char* name, std::optional<double> fallback);
  bool flag(const char* name, bool fallback);
  int integer(const char* name, std::optional<int> fallback = {});
  std::string word(const char* name, const char* fallback);
  std::vector<double> numbers(const char* name, std::vector<double> fallback);
  /// A pair, or one number v as (-v, v), as (other, v) where that is given.
  Range range(const char* name, Range fallback, std::optional<double> other = {});
  /// The same of whole numbers.
  Range whole_range(const char* name, Range fallback, std::optional<double> other = {});
  /// A pair, or one number v as (v, v). Nothing where it is null or not given.
  std::optional<Range> span(const char* name);
  /// Such a span for both axes, or {"x": .., "y": ..} with one for each.
  std::optional<Axes> axes(const char* name);
  /// The transforms that this one is made of. Throws Error where one frames or normalizes: that is
  /// the list's own affair.
  std::vector<Step> steps(const char* name);
  /// An argument that has no effect here: taken and forgotten.
  void ignore(const char* name);
  /// An argument of which only one value is known here. Throws Error for others.
  void only(const char* name, const nlohmann::json& value);

  /// Throws Error naming an argument that nobody read, with the nearest one that was.
  void finish() const;
  const nlohmann::json& resolved() const { return resolved_; }

 private:
  [[noreturn]] void fail(const char* name, const char* expected) const;
  const nlohmann::json* take(const char* name);

  std::string transform_;
  Version version_;
  bool version_matters_ = true;
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
