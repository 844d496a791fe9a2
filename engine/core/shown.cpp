#include "engine/core/shown.h"

namespace decant {

std::string shown(std::string_view words, size_t most) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : words.substr(0, most)) {
    if (c >= ' ' && c <= '~') {
      text += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += kDigits[byte / 16];
    text += kDigits[byte % 16];
  }
  if (words.size() > most) text += "...";
  return text;
}

}  // namespace decant
