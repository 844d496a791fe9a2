#pragma once

#include <string>
#include <vector>

#include "apps/options.h"

namespace decant::apps {

/// One place in which two objects differ.
struct Difference {
  std::string key;    ///< "optim.lr", "presets[11].name"
  std::string mine;   ///< as JSON, shortened where it is long; "none"
  std::string other;  ///< the same
};
/// All places, whatever the order of keys.
std::vector<Difference> differences(const Json& mine, const Json& other);

}  // namespace decant::apps
