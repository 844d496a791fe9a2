#include "engine/core/nearest_name.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <utility>
#include <vector>

namespace decant {
namespace {

// Optimal string alignment distance; cost(i, j) is that of the first i and j characters.
size_t edit_distance(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<size_t> table((a.size() + 1) * width);
  const auto cost = [&](size_t i, size_t j) -> size_t& { return table[i * width + j]; };
  for (size_t i = 0; i <= a.size(); ++i) cost(i, 0) = i;
  for (size_t j = 0; j <= b.size(); ++j) cost(0, j) = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = cost(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost(i, j) = std::min({cost(i - 1, j) + 1, cost(i, j - 1) + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost(i, j) = std::min(cost(i, j), cost(i - 2, j - 2) + 1);
    }
  }
  return cost(a.size(), b.size());
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// First how many edits apart they are whatever the case, then with it.
std::pair<size_t, size_t> distance_of(std::string_view a, std::string_view b) {
  return {edit_distance(lower(a), lower(b)), edit_distance(a, b)};
}

}  // namespace

std::string nearest_name(std::string_view wanted, std::span<const std::string> names) {
  std::string best;
  std::pair least(std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max());
  for (const std::string& name : names) {
    const std::pair distance = distance_of(wanted, name);
    if (distance >= least) continue;
    least = distance;
    best = name;
  }
  return best;
}

std::string near_name(std::string_view wanted, std::span<const std::string> names) {
  const std::string nearest = nearest_name(wanted, names);
  const bool near = distance_of(wanted, nearest).first <= std::max<size_t>(2, wanted.size() / 3);
  return near ? nearest : "";
}

std::string did_you_mean(std::string_view wanted, std::span<const std::string> names, char quote) {
  const std::string near = near_name(wanted, names);
  if (near.empty()) return "";
  std::string text = ", did you mean ";
  return text.append(1, quote).append(near).append(1, quote).append("?");
}

}  // namespace decant
