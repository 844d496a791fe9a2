#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/core/error.h"

namespace decant::apps {

/// Config keys keep the order in which they are declared: a reader meets data before optimizer.
using Json = nlohmann::ordered_json;

/// One setting of an options struct: how it is called, what it may hold, and the way to it.
struct Key {
  std::string name;  ///< with its sections: "optim.lr"
  std::string flag;  ///< "--lr", or "" where only key=value and the config file reach it
  std::string help;
  std::string expected;  ///< for messages: "a number"
  bool many = false;     ///< a list: its flag takes several words
  std::function<Json()> get;
  std::function<bool(const Json&)> set;  ///< false where the value is not of the expected kind
};

/// What an options struct shows its settings to, from which flags, --help, the config file, its
/// echo and key=value all follow:
///
///   struct OptimConfig {
///     double lr = 3e-4;
///     void visit(auto&& v) { v("lr", lr, "learning rate", "--lr"); }
///   };
///   struct Config {
///     OptimConfig optim;
///     void visit(auto&& v) { v.section("optim", optim); }
///   };
class KeyCollector {
 public:
  template <class T>
  void operator()(std::string_view name, T& field, std::string_view help,
                  std::string_view flag = "") {
    keys_.push_back({prefix_ + std::string(name), std::string(flag), std::string(help),
                     expected<T>(), std::is_same_v<T, std::vector<std::string>>,
                     [&field] { return Json(field); },
                     [&field](const Json& value) { return assign(value, field); }});
  }

  template <class Section>
  void section(std::string_view name, Section& options) {
    const size_t length = prefix_.size();
    prefix_ += std::string(name) + ".";
    options.visit(*this);
    prefix_.resize(length);
  }

  std::vector<Key> take() { return std::move(keys_); }

 private:
  template <class T>
  static std::string expected() {
    if constexpr (std::is_same_v<T, bool>) return "true or false";
    if constexpr (std::is_integral_v<T>)
      return std::is_signed_v<T> ? "a whole number" : "a whole number, not negative";
    if constexpr (std::is_floating_point_v<T>) return "a number";
    if constexpr (std::is_same_v<T, std::string>) return "text";
    if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of text";
    return "JSON";
  }

  // Stricter than nlohmann's get<T>(), which turns 1.5 into 1 and true into 1.
  template <class T>
  static bool assign(const Json& value, T& field) {
    if constexpr (std::is_same_v<T, bool>) {
      if (!value.is_boolean()) return false;
    } else if constexpr (std::is_integral_v<T>) {
      if (!value.is_number_integer()) return false;
      if (value.is_number_unsigned() ? !std::in_range<T>(value.template get<uint64_t>())
                                     : !std::in_range<T>(value.template get<int64_t>()))
        return false;
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!value.is_number()) return false;
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!value.is_string()) return false;
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      if (!value.is_array()) return false;
      for (const Json& word : value)
        if (!word.is_string()) return false;
    }
    field = value.template get<T>();
    return true;
  }

  std::string prefix_;
  std::vector<Key> keys_;
};

/// The settings of `options`, which must outlive them.
template <class Options>
std::vector<Key> keys_of(Options& options) {
  KeyCollector collector;
  options.visit(collector);
  return collector.take();
}

/// All settings as nested JSON: what --print-config shows and a run folder keeps.
Json to_json(std::span<const Key> keys);

/// Sets what `json` holds and leaves the rest. `where` begins every message: a file's name.
/// Throws Error naming the key: unknown (with the nearest known one), or of the wrong kind.
void read_json(std::span<const Key> keys, const Json& json, std::string_view where);

/// Sets one key from words as a user types them: text as it stands, everything else as JSON.
/// Throws Error as read_json does.
void set_from_text(const Key& key, std::string_view text, std::string_view where);

/// "optim.lr=1e-3". Throws Error where there is no "=", or as read_json does.
void apply_override(std::span<const Key> keys, std::string_view assignment);

/// Parses a file of JSON, where a key may occur only once in an object. Throws Error naming the
/// file and the position.
Json read_json_file(const std::string& path);
/// The same of a file that holds an object.
Json read_json_object(const std::string& path);

/// A value as a message shows it: on one line, and not the whole of a long one.
std::string shown_json(const Json& value);

/// `, did you mean "x"?` for the known name nearest in edits, or "" where none is near.
std::string suggestion(std::string_view word, std::span<const std::string> known);

}  // namespace decant::apps
