#pragma once

#include <span>
#include <string_view>

namespace decant {

/// What every op says about itself. The list serves messages, profiles and the completeness test
/// (an op without a row in engine/check fails it); it never dispatches anything.
struct OpInfo {
  std::string_view name;     ///< as in the public function: "softmax"
  std::string_view formula;  ///< the forward pass in one line
  std::string_view source;   ///< the paper or textbook the definition follows
  bool differentiable = true;
};

/// Adds an op to the list; a file-scope constant holds what it returns:
///   const OpInfo& kSoftmax = register_op({.name = "softmax", ...});
const OpInfo& register_op(const OpInfo& info);

/// Every op linked into this program, sorted by name.
std::span<const OpInfo* const> registered_ops();

}  // namespace decant
