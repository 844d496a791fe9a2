#include "apps/study/html.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "engine/core/error.h"

namespace decant::apps {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '\n':
      case '\t':
        result += c;
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
          result += "\xef\xbf\xbd";
        else
          result += c;
    }
  }
  return result;
}

std::string typographic(std::string_view figure) {
  std::string text;
  for (size_t i = 0; i < figure.size(); ++i) {
    const bool number_follows =
        i + 1 < figure.size() && std::isdigit(static_cast<unsigned char>(figure[i + 1])) != 0;
    const bool alone =
        (i == 0 || figure[i - 1] == ' ') && (i + 1 == figure.size() || figure[i + 1] == ' ');
    if (figure.substr(i).starts_with("+-")) {
      text += "±";
      ++i;
    } else if (figure[i] == '-' && alone) {
      text += "–";
    } else if (figure[i] == '-' && number_follows) {
      text += "−";
    } else if (figure[i] == '~') {
      text += "≈ ";
    } else if (figure[i] == '<') {
      text += "< ";
    } else {
      text += figure[i];
    }
  }
  return text;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < count ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string data_uri(const data::Image& image) {
  return "data:image/png;base64," + base64(data::png_bytes(image));
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, "\u202f");
  return digits;
}

std::string short_number(double value) {
  constexpr const char* kUnits[] = {"", " k", " M", " G"};
  size_t unit = 0;
  for (; std::abs(value) >= 999.5 && unit < 3; ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return str(text, kUnits[unit]);
}

}  // namespace decant::apps
