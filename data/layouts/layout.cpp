#include "data/layouts/layout.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "engine/core/error.h"

namespace decant::data {
namespace {

namespace fs = std::filesystem;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

template <class Wanted>
std::vector<fs::path> entries(const fs::path& folder, Wanted&& wanted) {
  std::vector<fs::path> found;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    // "._name.png" is what macOS leaves beside a file it copied; it is no image. lost+found is the
    // file system's own, and root's.
    const std::string name = it->path().filename().string();
    if (name.front() != '.' && name != "lost+found" && wanted(*it)) found.push_back(it->path());
  }
  check(!code || code == std::errc::not_a_directory || code == std::errc::no_such_file_or_directory,
        folder.string(), ": expected a folder that can be read, got ", code.message());
  std::ranges::sort(found, [](const fs::path& a, const fs::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return found;
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
      continue;
    }
    const auto number = [](std::string_view text, size_t& at) {
      const size_t begin = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      std::string_view digits = text.substr(begin, at - begin);
      digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
      return digits;
    };
    const std::string_view x = number(a, i);
    const std::string_view y = number(b, j);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // "1" and "01" are equal by value, but an order must tell them apart
}

std::vector<fs::path> image_files(const fs::path& folder) {
  return entries(folder, [](const fs::directory_entry& e) {
    return e.is_regular_file() && has_image_suffix(e.path());
  });
}

std::vector<fs::path> subfolders(const fs::path& folder) {
  return entries(folder, [](const fs::directory_entry& e) { return e.is_directory(); });
}

std::optional<int> mask_number(std::string_view name, std::string_view stem,
                               std::span<const std::string_view> suffixes) {
  if (!name.starts_with(stem)) return {};
  const std::string_view rest = name.substr(stem.size());
  for (const std::string_view suffix : suffixes) {
    if (!rest.starts_with(suffix)) continue;
    const std::string_view tail = rest.substr(suffix.size());
    if (tail.empty()) return 0;
    int number = 0;
    const auto [end, error] = std::from_chars(tail.data() + 1, tail.data() + tail.size(), number);
    if (tail.size() > 1 && tail[0] == '_' && is_digit(tail[1]) && error == std::errc() &&
        end == tail.data() + tail.size())
      return number;
  }
  return {};
}

std::optional<MaskName> mask_beside_image(std::string_view name) {
  constexpr std::array<std::string_view, 1> kSuffix = {"_mask"};
  const std::string_view stem = name.substr(0, name.rfind(kSuffix[0]));
  if (stem.size() == name.size()) return {};
  if (const auto number = mask_number(name, stem, kSuffix))
    return MaskName{std::string(stem), *number};
  return {};
}

std::string split_name(std::string_view word) {
  const std::string w = lower_case(word);
  if (w == "train" || w == "training") return "train";
  if (w == "val" || w == "valid" || w == "validation") return "val";
  if (w == "test" || w == "testing") return "test";
  return "";
}

}  // namespace decant::data
