#include "tests/apps/page_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

namespace decant::apps {
namespace {

std::string read_entities(std::string_view text) {
  const std::pair<std::string_view, char> known[] = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
  std::string read;
  while (!text.empty()) {
    if (text[0] != '&') {
      read += text[0];
      text.remove_prefix(1);
      continue;
    }
    const auto* const entity =
        std::ranges::find_if(known, [&](const auto& of) { return text.starts_with(of.first); });
    REQUIRE_MESSAGE(entity != std::end(known), "not an entity: ", std::string(text.substr(0, 20)));
    read += entity->second;
    text.remove_prefix(entity->first.size());
  }
  return read;
}

// The attributes of a tag: name="value", apart by one space each.
std::map<std::string, std::string> read_attributes(std::string_view words) {
  std::map<std::string, std::string> attributes;
  while (!words.empty() && words != "/") {
    const size_t name_end = words.find_first_of("= ");
    std::string name(words.substr(0, name_end));
    std::string value;
    words.remove_prefix(std::min(words.size(), name.size()));
    if (words.starts_with("=\"")) {
      const size_t end = words.find('"', 2);
      REQUIRE(end != std::string_view::npos);
      value = read_entities(words.substr(2, end - 2));
      words.remove_prefix(end + 1);
    }
    CAPTURE(name);
    REQUIRE(name.find_first_of("\"'<>") == std::string::npos);
    CHECK(attributes.emplace(name, value).second);
    while (words.starts_with(" ")) words.remove_prefix(1);
  }
  return attributes;
}

}  // namespace

std::vector<Element> elements_of(std::string_view page) {
  std::vector<Element> found;
  std::vector<size_t> open;
  size_t at = page.find('\n') + 1;  // after <!DOCTYPE html>
  while (at < page.size()) {
    const size_t tag = page.find('<', at);
    const bool style = !open.empty() && found[open.back()].name == "style";
    const std::string text = style ? "" : read_entities(page.substr(at, tag - at));
    for (const size_t i : open) found[i].text += text;
    if (tag == std::string_view::npos) break;
    const size_t end = page.find('>', tag);
    REQUIRE(end != std::string_view::npos);
    const std::string_view words = page.substr(tag + 1, end - tag - 1);
    at = end + 1;
    if (words.starts_with("/")) {
      REQUIRE(!open.empty());
      REQUIRE(found[open.back()].name == words.substr(1));
      open.pop_back();
      continue;
    }
    const size_t name_end = std::min(words.size(), words.find_first_of(" /"));
    Element element{.name = std::string(words.substr(0, name_end)), .begin = tag};
    std::string_view rest = words.substr(name_end);
    while (rest.starts_with(" ")) rest.remove_prefix(1);
    element.attributes =
        read_attributes(rest.ends_with("/") ? rest.substr(0, rest.size() - 1) : rest);
    const bool is_void = words.ends_with("/") || element.name == "meta" || element.name == "link" ||
                         element.name == "img";
    if (!is_void) open.push_back(found.size());
    found.push_back(std::move(element));
  }
  CHECK(open.empty());
  return found;
}

std::vector<Element> select(const std::vector<Element>& elements, const std::string& name,
                            const std::string& of_class) {
  std::vector<Element> selected;
  for (const Element& element : elements) {
    if (element.name != name) continue;
    const auto of = element.attributes.find("class");
    std::istringstream classes(of == element.attributes.end() ? "" : of->second);
    bool fits = of_class.empty();
    for (std::string one; classes >> one;) fits = fits || one == of_class;
    if (fits) selected.push_back(element);
  }
  return selected;
}

}  // namespace decant::apps
