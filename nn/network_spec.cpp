#include "nn/network_spec.h"

#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "engine/core/nearest_name.h"
#include "nn/registry.h"

namespace decant::nn {
namespace {

using Json = nlohmann::json;

// The numbers of a spec by name: for JSON, for text, for messages.
void visit_numbers(auto& spec, auto&& v) {
  v("in_channels", spec.in_channels);
  v("classes", spec.classes);
  v("width", spec.width);
  v("depth", spec.depth);
}

bool is_thin(const NetworkSpec& spec) {
  return spec.encoder == "thin" || spec.decoder == "thin_unet";
}

[[noreturn]] void refuse_key(std::string_view key) {
  const std::vector<std::string> keys = {"decoder", "encoder", "in_channels",
                                         "classes", "width",   "depth"};
  throw Error(str("network: there is no key \"", key, "\"; did you mean \"",
                  nearest_name(key, keys), "\"?"));
}

void set_number(NetworkSpec& spec, std::string_view key, int64_t value) {
  bool known = false;
  visit_numbers(spec, [&](std::string_view name, int64_t& number) {
    if (name != key) return;
    number = value;
    known = true;
  });
  if (!known) refuse_key(key);
}

Json parse_json(std::string_view text, std::string_view what) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw Error(str("network: expected JSON in ", what, ", got an error at byte ", error.byte));
  }
}

NetworkSpec read_json_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  check(in.good(), "network: cannot read ", path);
  std::ostringstream text;
  text << in.rdbuf();
  return network_spec_from_json(parse_json(text.str(), path));
}

}  // namespace

NetworkSpec resolved(NetworkSpec spec) {
  const std::string& own = own_encoder(spec.decoder);
  if (spec.encoder.empty()) spec.encoder = own;
  if (spec.encoder.empty()) {
    std::string known;
    for (const std::string& name : encoder_names()) known += (known.empty() ? "" : ", ") + name;
    throw Error(str("network: expected an encoder for ", spec.decoder, ", as in ", spec.decoder,
                    "/resnet18; got none. Known: ", known));
  }
  visit_numbers(spec, [](std::string_view name, int64_t number) {
    check(number >= 1, "network: expected ", name, " of at least 1, got ", number);
  });
  const NetworkSpec fresh;
  check(is_thin(spec) || (spec.width == fresh.width && spec.depth == fresh.depth),
        "network: width and depth are keys of thin_unet, ", spec.decoder, "/", spec.encoder,
        " has neither; got width ", spec.width, " and depth ", spec.depth);
  return spec;
}

std::string NetworkSpec::name() const {
  std::string text = decoder;
  if (!encoder.empty() && encoder != own_encoder(decoder)) text += '/' + encoder;
  std::vector<int64_t> defaults;
  const NetworkSpec fresh;
  visit_numbers(fresh, [&](std::string_view, int64_t n) { defaults.push_back(n); });
  char separator = ':';
  size_t i = 0;
  visit_numbers(*this, [&](std::string_view key, int64_t number) {
    if (number != defaults[i++]) text += str(std::exchange(separator, ','), key, '=', number);
  });
  return text;
}

NetworkSpec parse_network(std::string_view text) {
  if (text.starts_with('{')) return network_spec_from_json(parse_json(text, "the network's text"));
  if (text.ends_with(".json")) return read_json_file(std::string(text));
  NetworkSpec spec;
  const size_t colon = text.find(':');
  const std::string_view networks = text.substr(0, colon);
  const size_t slash = networks.find('/');
  spec.decoder = networks.substr(0, slash);
  if (slash != std::string_view::npos) spec.encoder = networks.substr(slash + 1);
  std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
    const size_t equals = item.find('=');
    check(equals != std::string_view::npos, "network: expected KEY=VALUE, got \"", item, "\" in ",
          text);
    const std::string_view digits = item.substr(equals + 1);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    check(error == std::errc() && end == digits.data() + digits.size(),
          "network: expected a whole number, got \"", item, "\" in ", text);
    set_number(spec, item.substr(0, equals), value);
  }
  return resolved(spec);
}

Json to_json(const NetworkSpec& spec) {
  const NetworkSpec full = resolved(spec);
  Json json = {{"decoder", full.decoder},
               {"encoder", full.encoder},
               {"in_channels", full.in_channels},
               {"classes", full.classes}};
  if (is_thin(full)) {
    json["width"] = full.width;
    json["depth"] = full.depth;
  }
  return json;
}

NetworkSpec network_spec_from_json(const Json& json) {
  check(json.is_object(), "network: expected a JSON object, got ", json.type_name());
  NetworkSpec spec;
  for (const auto& [key, value] : json.items()) {
    if (key == "decoder" || key == "encoder") {
      check(value.is_string(), "network: expected a name for \"", key, "\", got ", value.dump());
      (key == "decoder" ? spec.decoder : spec.encoder) = value.get<std::string>();
    } else {
      // An unknown key first: its value's type is not what is wrong with it.
      if (!value.is_number_integer()) set_number(spec, key, 1);
      check(value.is_number_integer(), "network: expected a whole number for \"", key, "\", got ",
            value.dump());
      set_number(spec, key, value.get<int64_t>());
    }
  }
  return resolved(spec);
}

}  // namespace decant::nn
