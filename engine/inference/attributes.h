#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "engine/autograd/trace.h"
#include "engine/core/error.h"
#include "engine/ops/batch_norm.h"

namespace decant {

/// An option of a traced step. Throws Error where it has none of this name and type.
template <class T>
const T& attribute(const Trace::Step& step, std::string_view name) {
  const auto found = std::ranges::find(step.attributes, name, &Attributes::value_type::first);
  check(found != step.attributes.end() && std::holds_alternative<T>(found->second), step.op->name,
        ": expected the option ", name, " in its trace");
  return std::get<T>(found->second);
}

inline std::optional<Activation> activation_named(std::string_view name) {
  for (const Activation a : {Activation::none, Activation::relu, Activation::relu6,
                             Activation::hard_swish, Activation::silu})
    if (name == name_of(a)) return a;
  return {};
}

/// What a batch norm applies. Throws Error for one that is not known here.
inline Activation activation_of(const Trace::Step& step) {
  const auto& name = attribute<std::string>(step, "activation");
  const auto found = activation_named(name);
  check(found.has_value(), step.op->name, ": expected an activation that plans know, got ", name);
  return *found;
}

}  // namespace decant
