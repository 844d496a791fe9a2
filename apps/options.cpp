#include "apps/options.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "engine/core/nearest_name.h"

namespace decant::apps {
namespace {

void set(const Key& key, const Json& value, std::string_view where) {
  check(key.set(value), where, ": ", key.name, ": expected ", key.expected, ", got ",
        shown_json(value));
}

[[noreturn]] void unknown_key(std::span<const Key> keys, const std::string& name,
                              std::string_view where) {
  std::vector<std::string> known;
  for (const Key& key : keys) known.push_back(key.name);
  std::string hint = suggestion(name, known);
  if (hint.empty()) {  // "lr" for "optim.lr": the right word without its section
    for (const Key& key : keys)
      if (key.name.ends_with("." + name)) hint = ", did you mean \"" + key.name + "\"?";
  }
  throw Error(str(where, ": expected a known key, got \"", name, "\"", hint));
}

const Key* find(std::span<const Key> keys, const std::string& name) {
  const auto found = std::ranges::find_if(keys, [&](const Key& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

void read_section(std::span<const Key> keys, const Json& json, const std::string& prefix,
                  std::string_view where) {
  for (const auto& [word, value] : json.items()) {
    const std::string name = prefix + word;
    if (const Key* key = find(keys, name)) {
      set(*key, value, where);
      continue;
    }
    const bool section =
        std::ranges::any_of(keys, [&](const Key& key) { return key.name.starts_with(name + "."); });
    if (!section) unknown_key(keys, name, where);
    check(value.is_object(), where, ": ", name, ": expected a section {...}, got ",
          shown_json(value));
    read_section(keys, value, name + ".", where);
  }
}

}  // namespace

std::string shown_json(const Json& value) {
  constexpr size_t kMost = 60;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kMost) return text;
  size_t end = kMost - 3;
  while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not within a character
  return text.substr(0, end) + "...";
}

Json to_json(std::span<const Key> keys) {
  Json json = Json::object();
  for (const Key& key : keys) {
    Json* place = &json;
    std::string_view rest = key.name;
    for (size_t dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
      place = &(*place)[std::string(rest.substr(0, dot))];
      rest.remove_prefix(dot + 1);
    }
    (*place)[std::string(rest)] = key.get();
  }
  return json;
}

void read_json(std::span<const Key> keys, const Json& json, std::string_view where) {
  check(json.is_object(), where, ": expected an object {\"key\": value}, got ", shown_json(json));
  read_section(keys, json, "", where);
}

void set_from_text(const Key& key, std::string_view text, std::string_view where) {
  if (key.expected == "text") {
    set(key, std::string(text), where);
    return;
  }
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) value = std::string(text);  // JSON keys take a bare word as text
  set(key, value, where);
}

void apply_override(std::span<const Key> keys, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  check(equals != std::string_view::npos && equals > 0, "expected key=value, got \"", assignment,
        "\"");
  const std::string name(assignment.substr(0, equals));
  const std::string_view text = assignment.substr(equals + 1);
  if (const Key* key = find(keys, name)) {
    set_from_text(*key, text, assignment);
    return;
  }
  // A key whose value is JSON opens further: distill.spec.teacher_view=same. What may stand in it
  // is its reader's to say.
  for (const Key& key : keys) {
    if (key.expected != "JSON" || !name.starts_with(key.name + ".")) continue;
    Json value = key.get();
    Json* place = &value;
    std::string_view rest = std::string_view(name).substr(key.name.size() + 1);
    while (true) {
      check(place->is_object() || place->is_null(), assignment, ": expected an object to set \"",
            rest, "\" in, got ", shown_json(*place));
      const size_t dot = rest.find('.');
      place = &(*place)[std::string(rest.substr(0, dot))];
      if (dot == std::string_view::npos) break;
      rest.remove_prefix(dot + 1);
    }
    *place = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (place->is_discarded()) *place = std::string(text);
    set(key, value, assignment);
    return;
  }
  unknown_key(keys, name, assignment);
}

constexpr int kMostNested = 256;

Json read_json_file(const std::string& path) {
  check(!std::filesystem::is_directory(path), path, ": expected a file of JSON, got a folder");
  std::ifstream file(path, std::ios::binary);
  check(file.good(), path, ": expected a file of JSON, it cannot be opened");
  std::vector<std::set<std::string>> open_objects;
  const auto refuse_twice = [&](int depth, Json::parse_event_t event, Json& parsed) {
    // What walks the values does so by recursion.
    check(depth <= kMostNested, path, ": expected JSON nested at most ", kMostNested,
          " deep, got a deeper one");
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key) {
      const std::string key = parsed.get<std::string>();
      check(open_objects.back().insert(key).second, path, ": expected each key once, got \"", key,
            "\" twice");
    }
    return true;
  };
  try {
    return Json::parse(file, refuse_twice);
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception...] parse error at line 3, column 7: ..." without the library's bracket.
    const std::string_view what = error.what();
    const size_t bracket = what.find("] ");
    throw Error(str(path, ": expected JSON, ",
                    bracket == std::string_view::npos ? what : what.substr(bracket + 2)));
  }
}

Json read_json_object(const std::string& path) {
  Json json = read_json_file(path);
  check(json.is_object(), path, ": expected an object of JSON, got ", json.type_name());
  return json;
}

std::string suggestion(std::string_view word, std::span<const std::string> known) {
  return did_you_mean(word, known);
}

}  // namespace decant::apps
