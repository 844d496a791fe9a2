#include "apps/study/figures.h"

#include <cmath>

#include "apps/console.h"
#include "engine/core/error.h"

namespace decant::apps {

std::string p_text(double p, bool exact) {
  if (!std::isfinite(p)) return "-";
  return str(exact ? "" : "~", p < 1e-4 ? std::string("<0.0001") : rounded(p, 4));
}

std::string signed_text(double value, int places) {
  if (!std::isfinite(value)) return "-";
  const std::string digits = rounded(std::fabs(value), places);
  if (digits == rounded(0, places)) return digits;
  return str(value < 0 ? '-' : '+', digits);
}

std::string bytes_text(size_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (bytes < 1000) return str(bytes, bytes == 1 ? " byte" : " bytes");
  return bytes < 1'000'000 ? rounded(size / 1e3, 0) + " kB" : rounded(size / 1e6, 1) + " MB";
}

std::string interval_text(const std::array<double, 2>& ends, int places) {
  if (!std::isfinite(ends[0])) return "-";
  return str("[", signed_text(ends[0], places), ", ", signed_text(ends[1], places), "]");
}

}  // namespace decant::apps
