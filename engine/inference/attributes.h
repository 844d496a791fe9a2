#pragma once

#include <algorithm>
#include <string_view>
#include <variant>

#include "engine/autograd/trace.h"
#include "engine/core/error.h"

namespace decant {

/// An option of a traced step. Throws Error where it has none of this name and type.
template <class T>
const T& attribute(const Trace::Step& step, std::string_view name) {
  const auto found = std::ranges::find(step.attributes, name, &Attributes::value_type::first);
  check(found != step.attributes.end() && std::holds_alternative<T>(found->second), step.op->name,
        ": expected the option ", name, " in its trace");
  return std::get<T>(found->second);
}

}  // namespace decant
