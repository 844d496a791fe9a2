#pragma once

#include <span>
#include <string>
#include <string_view>

namespace decant {

/// The name of fewest insertions, deletions, substitutions and swaps of neighbours from `wanted`,
/// whatever the case; on a tie the nearest with it, then the first; "" where there are no names.
/// For messages: "did you mean ...".
std::string nearest_name(std::string_view wanted, std::span<const std::string> names);

/// The same where it is near enough to have been meant, at most 2 edits or a third of the letters
/// away; otherwise "".
std::string near_name(std::string_view wanted, std::span<const std::string> names);

/// `, did you mean "x"?` of near_name(), or "": what a message about a name ends with.
std::string did_you_mean(std::string_view wanted, std::span<const std::string> names,
                         char quote = '"');

}  // namespace decant
