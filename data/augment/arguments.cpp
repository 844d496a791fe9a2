#include <algorithm>

#include "data/augment/transform.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {

Arguments::Arguments(std::string transform, nlohmann::json given)
    : transform_(std::move(transform)), given_(std::move(given)) {}

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

Arguments::Range Arguments::range(const char* name, Range fallback, bool from_zero) {
  const auto* value = take(name);
  Range result = fallback;
  if (value && value->is_number()) {
    const double v = value->get<double>();
    result = from_zero ? Range{0, v} : Range{-v, v};
    if (v < 0) result = {result.high, result.low};
  } else if (value) {
    const bool pair = value->is_array() && value->size() == 2 && (*value)[0].is_number() &&
                      (*value)[1].is_number();
    if (!pair) fail(name, "a number or a pair of numbers");
    result = {(*value)[0].get<double>(), (*value)[1].get<double>()};
    if (result.low > result.high) fail(name, "a pair with the smaller number first");
  }
  resolved_[name] = {result.low, result.high};
  return result;
}

void Arguments::ignore(const char* name) {
  take(name);
}

void Arguments::finish() const {
  for (const auto& [name, value] : given_.items())
    if (std::ranges::find(known_, name) == known_.end())
      throw Error(str(transform_, ": unknown argument '", name, "', did you mean '",
                      nearest_name(name, known_), "'?"));
}

}  // namespace decant::data
