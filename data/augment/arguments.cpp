#include <algorithm>
#include <cmath>

#include "data/augment/transform.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {

namespace {

using Range = Arguments::Range;

std::optional<Range> pair_of(const nlohmann::json& value) {
  const bool pair =
      value.is_array() && value.size() == 2 && value[0].is_number() && value[1].is_number();
  if (!pair) return {};
  return Range{value[0].get<double>(), value[1].get<double>()};
}

std::optional<Range> span_of(const nlohmann::json& value) {
  if (value.is_number()) return Range{value.get<double>(), value.get<double>()};
  return pair_of(value);
}

nlohmann::json to_json(const Range& range) {
  return {range.low, range.high};
}

}  // namespace

Arguments::Arguments(std::string transform, nlohmann::json given, Version version)
    : transform_(std::move(transform)), version_(version), given_(std::move(given)) {}

void Arguments::fail(const char* name, const char* expected) const {
  const std::string got = given_.contains(name) ? given_[name].dump() : "nothing";
  throw Error(str(transform_, ": expected ", expected, " for '", name, "', got ", got));
}

const nlohmann::json* Arguments::take(const char* name) {
  known_.emplace_back(name);
  const auto it = given_.find(name);
  return it == given_.end() ? nullptr : &*it;
}

double Arguments::number(const char* name, double fallback) {
  const auto* value = take(name);
  if (value && !value->is_number()) fail(name, "a number");
  const double result = value ? value->get<double>() : fallback;
  resolved_[name] = result;
  return result;
}

std::optional<double> Arguments::optional_number(const char* name, std::optional<double> fallback) {
  const auto* value = take(name);
  if (value && !value->is_number() && !value->is_null()) fail(name, "a number or null");
  std::optional<double> result = fallback;
  if (value) result = value->is_null() ? std::optional<double>() : value->get<double>();
  resolved_[name] = result ? nlohmann::json(*result) : nlohmann::json();
  return result;
}

bool Arguments::flag(const char* name, bool fallback) {
  const auto* value = take(name);
  if (value && !value->is_boolean()) fail(name, "true or false");
  const bool result = value ? value->get<bool>() : fallback;
  resolved_[name] = result;
  return result;
}

int Arguments::integer(const char* name, std::optional<int> fallback) {
  const auto* value = take(name);
  if (value ? !value->is_number_integer() : !fallback) fail(name, "a whole number");
  const int64_t result = value ? value->get<int64_t>() : *fallback;
  if (result < 0 || result > 32768) fail(name, "a whole number up to 32768");
  resolved_[name] = result;
  return static_cast<int>(result);
}

std::string Arguments::word(const char* name, const char* fallback) {
  const auto* value = take(name);
  if (value && !value->is_string()) fail(name, "a word");
  std::string result = value ? value->get<std::string>() : fallback;
  resolved_[name] = result;
  return result;
}

std::vector<double> Arguments::numbers(const char* name, std::vector<double> fallback) {
  const auto* value = take(name);
  std::vector<double> result = std::move(fallback);
  if (value && value->is_number()) {
    result = {value->get<double>()};
  } else if (value && !value->is_null()) {
    const bool good =
        value->is_array() && !value->empty() &&
        std::ranges::all_of(*value, [](const nlohmann::json& v) { return v.is_number(); });
    if (!good) fail(name, "a number or a list of numbers");
    result = value->get<std::vector<double>>();
  }
  resolved_[name] = result;
  return result;
}

Range Arguments::range(const char* name, Range fallback, std::optional<double> other) {
  const auto* value = take(name);
  Range result = fallback;
  if (value && value->is_number()) {
    const double v = value->get<double>();
    const double end = other.value_or(-v);
    result = {std::min(v, end), std::max(v, end)};
  } else if (value) {
    const std::optional<Range> pair = pair_of(*value);
    if (!pair) fail(name, "a number or a pair of numbers");
    result = *pair;
    if (result.low > result.high) fail(name, "a pair with the smaller number first");
  }
  resolved_[name] = to_json(result);
  return result;
}

Range Arguments::whole_range(const char* name, Range fallback, std::optional<double> other) {
  const Range result = range(name, fallback, other);
  for (const double end : {result.low, result.high})
    if (end != std::floor(end) || std::fabs(end) > 32768) fail(name, "whole numbers up to 32768");
  return result;
}

std::optional<Range> Arguments::span(const char* name) {
  const auto* value = take(name);
  resolved_[name] = nullptr;
  if (!value || value->is_null()) return {};
  const std::optional<Range> result = span_of(*value);
  if (!result) fail(name, "a number or a pair of numbers");
  resolved_[name] = to_json(*result);
  return result;
}

std::optional<Arguments::Axes> Arguments::axes(const char* name) {
  const auto* value = take(name);
  resolved_[name] = nullptr;
  if (!value || value->is_null()) return {};
  const nlohmann::json both = {{"x", *value}, {"y", *value}};
  const nlohmann::json& given = value->is_object() ? *value : both;
  std::optional<Range> x, y;
  if (given.size() == 2 && given.contains("x") && given.contains("y")) {
    x = span_of(given["x"]);
    y = span_of(given["y"]);
  }
  if (!x || !y) fail(name, "a number, a pair of numbers, or both under \"x\" and \"y\"");
  resolved_[name] = {{"x", to_json(*x)}, {"y", to_json(*y)}};
  return Axes{*x, *y};
}

std::vector<Step> Arguments::steps(const char* name) {
  const auto* value = take(name);
  if (!value || !value->is_array() || value->empty()) fail(name, "a list of transforms");
  nlohmann::json list = *value;
  for (nlohmann::json& entry : list)
    if (is_v2() && entry.is_object() && !entry.contains("version")) entry["version"] = 2;
  std::vector<Step> steps = read_steps(list);
  resolved_[name] = nlohmann::json::array();
  for (const Step& step : steps) {
    check(step.transform->role() == Role::variation, transform_,
          ": expected transforms that vary the image, got ", step.name,
          ", which belongs into the list itself");
    resolved_[name].push_back(step.arguments);
  }
  return steps;
}

void Arguments::ignore(const char* name) {
  take(name);
}

void Arguments::only(const char* name, const nlohmann::json& value) {
  const auto* given = take(name);
  if (given && *given != value) fail(name, str("nothing but ", value.dump()).c_str());
}

void Arguments::finish() const {
  for (const auto& [name, value] : given_.items()) {
    if (std::ranges::find(known_, name) != known_.end()) continue;
    std::string hint = did_you_mean(name, known_, '\'');
    if (hint.empty())
      for (const std::string& known : known_) hint += (hint.empty() ? "; it has " : ", ") + known;
    throw Error(str(transform_, ": unknown argument '", name, "'", hint));
  }
}

}  // namespace decant::data
