#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace decant::apps {

// Figures of a study as its tables and its page show them, in ASCII; "-" where there is none.

/// 0.03124 as "0.0312", less than 0.0001 as "<0.0001"; one that is not exact begins with "~".
std::string p_text(double p, bool exact = true);

/// 3.14 as "+3.1"; what rounds to 0 has no sign.
std::string signed_text(double value, int places);

/// "812 bytes", "45 kB", "1.3 MB"
std::string bytes_text(size_t bytes);

/// "[-0.50, +1.25]"
std::string interval_text(const std::array<double, 2>& ends, int places);

}  // namespace decant::apps
