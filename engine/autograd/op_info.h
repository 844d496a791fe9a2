#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace decant {

/// Some of an op's inputs, bit i for input i.
using InputSet = uint32_t;
inline constexpr InputSet kNoInput = 0;
inline constexpr InputSet kFirstInput = 1;
inline constexpr InputSet kFirstTwoInputs = 3;
inline constexpr InputSet kEveryInput = ~InputSet{0};

/// What every op says about itself. The list serves messages, profiles and the completeness test
/// (an op without a row in engine/check fails it); it never dispatches anything.
struct OpInfo {
  std::string_view name;     ///< as in the public function: "softmax"
  std::string_view formula;  ///< the forward pass in one line
  std::string_view source;   ///< the paper or textbook the definition follows
  bool differentiable = true;
  /// Which inputs, where they lie on cuda, may be bfloat16, and then the value and their gradients
  /// are; parameters stay float32.
  InputSet stored = kNoInput;
  /// The operands of products that the value and their gradients are sums of: cuda rounds those of
  /// float32 as precision() says.
  InputSet multiplied = kNoInput;
};

/// Adds an op to the list; a file-scope constant holds what it returns:
///   const OpInfo& kSoftmax = register_op({.name = "softmax", ...});
const OpInfo& register_op(const OpInfo& info);

/// Every op linked into this program, sorted by name.
std::span<const OpInfo* const> registered_ops();

}  // namespace decant
