#include "apps/study/differences.h"

#include <algorithm>

namespace decant::apps {
namespace {

// Two values that differ in one place; long texts from shortly before there.
Difference difference(const std::string& key, const Json& mine, const Json& other) {
  Difference found{key, shown_json(mine), shown_json(other)};
  if (found.mine != found.other || !mine.is_string() || !other.is_string()) return found;
  constexpr size_t kBefore = 16;
  const std::string a = mine.get<std::string>();
  const std::string b = other.get<std::string>();
  const auto apart = std::ranges::mismatch(a, b).in1 - a.begin();
  size_t from = static_cast<size_t>(apart) - std::min(static_cast<size_t>(apart), kBefore);
  while (from > 0 && (static_cast<unsigned char>(a[from]) & 0xc0) == 0x80) --from;  // in UTF-8
  return {key, shown_json("..." + a.substr(from)), shown_json("..." + b.substr(from))};
}

// The member of an object, or the element of an array, that items() calls so.
const Json* part(const Json& of, const std::string& name) {
  if (of.is_array()) {
    const size_t i = std::stoul(name);
    return i < of.size() ? &of[i] : nullptr;
  }
  const auto found = of.find(name);
  return found == of.end() ? nullptr : &*found;
}

// nullptr: there is none.
void add_differences(const std::string& key, const Json* mine, const Json* other,
                     std::vector<Difference>& into) {
  if (mine == nullptr || other == nullptr) {
    into.push_back({key, mine ? shown_json(*mine) : "none", other ? shown_json(*other) : "none"});
  } else if (mine->is_structured() && mine->type() == other->type()) {
    for (const Json* of : {mine, other})
      for (const auto& [name, value] : of->items()) {
        if (of == other && part(*mine, name) != nullptr) continue;  // seen with mine
        const std::string inside = mine->is_array() ? str(key, "[", name, "]")
                                   : key.empty()    ? name
                                                    : str(key, ".", name);
        add_differences(inside, part(*mine, name), part(*other, name), into);
      }
  } else if (*mine != *other) {
    into.push_back(difference(key, *mine, *other));
  }
}

}  // namespace

std::vector<Difference> differences(const Json& mine, const Json& other) {
  std::vector<Difference> found;
  add_differences("", &mine, &other, found);
  return found;
}

}  // namespace decant::apps
