#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace decant {

/// The project's one exception type. `what()` reads "op: what was expected, what came", with both
/// shapes where shapes are the matter: "matmul: inner sizes differ, a [2, 3] and b [4, 5]".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Joins its arguments with operator<<: str("rank ", 3) == "rank 3".
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// Throws Error(str(message...)) unless `condition` holds. Always on, also in release builds.
template <class... Args>
void check(bool condition, const Args&... message) {
  if (!condition) [[unlikely]]
    throw Error(str(message...));
}

}  // namespace decant
