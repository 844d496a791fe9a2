#pragma once

#include <string>
#include <string_view>

namespace decant {

/// A file's own words in a message: the first of them, and what a terminal would not show as it is,
/// or would obey, as \xNN. Whoever wrote the file wrote them.
std::string shown(std::string_view words, size_t most = 80);

}  // namespace decant
