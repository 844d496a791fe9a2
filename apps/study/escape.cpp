#include "apps/study/escape.h"

#include <cctype>

#include "engine/core/error.h"

namespace decant::apps {
namespace {

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool is_alphanumeric(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

}  // namespace

std::string plain_line(std::string_view text) {
  std::string line;
  for (const char c : text)
    if (is_control(c))
      line += "\xef\xbf\xbd";
    else
      line += c;
  return line;
}

std::string markdown_escaped(std::string_view text) {
  std::string escaped;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool within_word = c == '_' && i > 0 && i + 1 < text.size() &&
                             is_alphanumeric(text[i - 1]) && is_alphanumeric(text[i + 1]);
    if (std::string_view("\\`*_[]<>|&~#!$").find(c) != std::string_view::npos && !within_word)
      escaped += '\\';
    escaped += is_control(c) ? ' ' : c;
  }
  return escaped;
}

std::string latex_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\\':
        escaped += "\\textbackslash{}";
        break;
      case '^':
        escaped += "\\textasciicircum{}";
        break;
      case '~':
        escaped += "\\textasciitilde{}";
        break;
      case '[':  // an argument to the \\ before it
        escaped += "{[}";
        break;
      case '<':
      case '>':
      case '|':
        escaped += str('$', c, '$');
        break;
      default:
        if (std::string_view("{}$&#_%").find(c) != std::string_view::npos) escaped += '\\';
        escaped += is_control(c) ? ' ' : c;
    }
  }
  return escaped;
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string field = "\"";
  for (const char c : text) field += c == '"' ? std::string("\"\"") : std::string(1, c);
  return field + "\"";
}

std::string shell_word(std::string_view text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

std::string file_word(std::string_view text) {
  std::string word(text);
  for (char& c : word)
    if (!is_alphanumeric(c) && std::string_view("_=.-").find(c) == std::string_view::npos) c = '-';
  return word;
}

}  // namespace decant::apps
