#pragma once

#include <string>

#include "engine/core/error.h"

/// What the Error says that f throws, "" where it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const decant::Error& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
