#include "nn/network_spec.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/core/nearest_name.h"
#include "nn/registry.h"

namespace decant::nn {
namespace {

using Json = nlohmann::json;
using Numbers = std::vector<int64_t>;

constexpr int64_t kMostDepth = 16;
constexpr int64_t kMostChannels = 1 << 16;  // of anything

// The numbers and the options of a spec by name: for JSON, for text, for messages.
void visit_numbers(auto& spec, auto&& v) {
  v("in_channels", spec.in_channels);
  v("classes", spec.classes);
  v("width", spec.width);
  v("depth", spec.depth);
}

void visit_options(auto& options, auto&& v) {
  v("channels", options.channels);
  v("norm", options.norm);
  v("attention", options.attention);
  v("attention_channels", options.attention_channels);
  v("output_stride", options.output_stride);
  v("rates", options.rates);
  v("separable", options.separable);
  v("dropout", options.dropout);
}

// f(name, an option of a, the same of b)
void visit_both(auto& a, const DecoderOptions& b, auto&& f) {
  visit_options(a, [&]<class A>(std::string_view name, A& of_a) {
    visit_options(b, [&]<class B>(std::string_view other, const B& of_b) {
      if constexpr (std::is_same_v<std::remove_const_t<A>, B>)
        if (name == other) f(name, of_a, of_b);
    });
  });
}

bool is_thin(const NetworkSpec& spec) {
  return spec.encoder == "thin" || spec.decoder == "thin_unet";
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += str(text.empty() ? "" : ", ", name);
  return text;
}

[[noreturn]] void refuse_key(std::string_view key) {
  std::vector<std::string> keys = {"decoder", "encoder"};
  const auto add = [&](std::string_view name, const auto&) { keys.emplace_back(name); };
  const NetworkSpec spec;
  visit_numbers(spec, add);
  visit_options(spec.options, add);
  const std::string hint = did_you_mean(key, keys);
  throw Error(str("network: there is no key \"", key, '"', hint.empty() ? "." : hint,
                  " Known: ", joined(keys)));
}

template <class T>
constexpr const char* kWanted = "a name";
template <>
constexpr const char* kWanted<int64_t> = "a whole number";
template <>
constexpr const char* kWanted<double> = "a number";
template <>
constexpr const char* kWanted<bool> = "true or false";
template <>
constexpr const char* kWanted<Numbers> = "a list of whole numbers";

// ---- values as JSON -----------------------------------------------------------------------------

template <class T>
bool is_a(const Json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, double>) return value.is_number();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  if constexpr (std::is_same_v<T, Numbers>)
    return value.is_array() && std::ranges::all_of(value, is_a<int64_t>);
  return value.is_number_integer();
}

template <class T>
void read(std::string_view key, const Json& value, T& to) {
  check(is_a<T>(value), "network: expected ", kWanted<T>, " for \"", key, "\", got ", value.dump());
  to = value.get<T>();
}

// ---- values as text: lists as 256-128-64 --------------------------------------------------------

std::string text_of(const Numbers& numbers) {
  std::string text;
  for (const int64_t number : numbers) text += str(text.empty() ? "" : "-", number);
  return text;
}
std::string text_of(const std::string& text) {
  return text;
}
std::string text_of(const auto& number) {
  return Json(number).dump();
}

template <class T>
bool parse(std::string_view text, T& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}
bool parse(std::string_view text, std::string& to) {
  to = text;
  return true;
}
bool parse(std::string_view text, bool& to) {
  to = text == "true";
  return to || text == "false";
}
bool parse(std::string_view text, Numbers& to) {
  to.clear();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('-', begin), text.size());
    if (!parse(text.substr(begin, end - begin), to.emplace_back())) return false;
    begin = end + 1;
  }
  return true;
}

/// Calls set(value) with the number or option of this name, of its type. Throws Error where there
/// is none.
void with_key(NetworkSpec& spec, std::string_view key, auto&& set) {
  bool known = false;
  visit_numbers(spec, [&](std::string_view name, int64_t& number) {
    if (name != key) return;
    known = true;
    set(number);
  });
  visit_options(spec.options, [&](std::string_view name, auto& option) {
    if (name != key) return;
    known = true;
    set(option.emplace());
  });
  if (!known) refuse_key(key);
}

Json parse_json(std::string_view text, std::string_view what) {
  std::set<std::string> given;
  const auto refuse_twice = [&](int depth, Json::parse_event_t event, const Json& key) {
    check(event != Json::parse_event_t::key || depth != 1 ||
              given.insert(key.get<std::string>()).second,
          "network: expected ", key.dump(), " once, got it twice in ", what);
    return true;
  };
  try {
    return Json::parse(text, refuse_twice);
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

// ---- what is possible ---------------------------------------------------------------------------

void expect_one_of(const NetworkSpec& spec, std::string_view key,
                   const std::optional<std::string>& value, const std::vector<std::string>& names) {
  check(!value || std::ranges::count(names, *value) != 0, spec.decoder, ": expected ", key, " of ",
        joined(names), ", got \"", value.value_or(""), '"',
        did_you_mean(value.value_or(""), names));
}

void expect_channels(const NetworkSpec& spec, std::string_view key,
                     const std::optional<Numbers>& numbers, const Numbers& usual) {
  check(!numbers ||
            (numbers->size() == usual.size() &&
             std::ranges::all_of(*numbers, [](int64_t n) { return n >= 1 && n <= kMostChannels; })),
        spec.decoder, ": expected ", usual.size(), ' ', key, " of 1 to ", kMostChannels,
        ", such as ", text_of(usual), ", got ", numbers ? text_of(*numbers) : "");
}

/// Fills in what is absent. Throws Error for what the decoder does not take.
void resolve_options(NetworkSpec& spec, const DecoderOptions& usual) {
  std::vector<std::string> known;
  visit_options(usual, [&](std::string_view name, const auto& option) {
    if (option) known.emplace_back(name);
  });
  visit_both(spec.options, usual, [&](std::string_view name, auto& option, const auto& value) {
    check(!option || value, "network: ", spec.decoder, " has no option ", name, "; it has ",
          known.empty() ? "none" : joined(known));
    if (!option) option = value;
  });
  const DecoderOptions& o = spec.options;
  expect_one_of(spec, "norm", o.norm, {"batchnorm", "instancenorm", "identity"});
  expect_one_of(spec, "attention", o.attention, {"none", "scse"});
  expect_channels(spec, "channels", o.channels, usual.channels.value_or(Numbers{}));
  expect_channels(spec, "rates", o.rates, usual.rates.value_or(Numbers{}));
  check(o.attention_channels.value_or(1) >= 1, spec.decoder,
        ": expected attention_channels of at least 1, got ", o.attention_channels.value_or(1));
  check(!o.output_stride || *o.output_stride == 8 || *o.output_stride == 16, spec.decoder,
        ": expected an output_stride of 8 or 16, got ", o.output_stride.value_or(0));
  check(o.dropout.value_or(0) >= 0 && o.dropout.value_or(0) < 1, spec.decoder,
        ": expected a dropout of at least 0 and below 1, got ", o.dropout.value_or(0));
}

/// Calls f(key, value) for the options of a resolved spec that are not as usual.
void visit_unusual(const NetworkSpec& spec, auto&& f) {
  visit_both(spec.options, decoder_kind(spec.decoder).usual_options(spec.depth),
             [&](std::string_view key, const auto& option, const auto& value) {
               if (option != value) f(key, *option);
             });
}

}  // namespace

NetworkSpec resolved(NetworkSpec spec) {
  const DecoderKind& kind = decoder_kind(spec.decoder);
  if (spec.encoder.empty()) spec.encoder = kind.own_encoder;
  check(!spec.encoder.empty(), "network: expected an encoder for ", spec.decoder, ", as in ",
        spec.decoder, "/resnet18; got none. Known: ", joined(encoder_names()));
  if (spec.depth == 0) spec.depth = kind.usual_depth;
  visit_numbers(spec, [](std::string_view name, int64_t number) {
    check(number >= 1, "network: expected ", name, " of at least 1, got ", number);
    check(number <= kMostChannels, "network: expected ", name, " of at most ", kMostChannels,
          ", got ", number);
  });
  check(spec.depth <= kMostDepth, "network: expected depth of at most ", kMostDepth, ", got ",
        spec.depth);
  check(is_thin(spec) || spec.width == NetworkSpec().width,
        "network: width is a key of thin_unet, ", spec.decoder, "/", spec.encoder,
        " has none; got width ", spec.width);
  resolve_options(spec, kind.usual_options(spec.depth));
  return spec;
}

std::string NetworkSpec::name() const {
  const NetworkSpec full = resolved(*this);
  const DecoderKind& kind = decoder_kind(full.decoder);
  std::string text = full.decoder;
  if (full.encoder != kind.own_encoder) text += '/' + full.encoder;
  char separator = ':';
  const auto add = [&](std::string_view key, const auto& value) {
    text += str(std::exchange(separator, ','), key, '=', text_of(value));
  };
  NetworkSpec fresh;
  fresh.depth = kind.usual_depth;
  std::vector<int64_t> defaults;
  visit_numbers(fresh, [&](std::string_view, int64_t n) { defaults.push_back(n); });
  size_t i = 0;
  visit_numbers(full, [&](std::string_view key, int64_t number) {
    if (number != defaults[i++]) add(key, number);
  });
  visit_unusual(full, add);
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
  std::set<std::string_view> given;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
    const size_t equals = item.find('=');
    check(equals != std::string_view::npos, "network: expected KEY=VALUE, got \"", item, "\" in ",
          text);
    check(given.insert(item.substr(0, equals)).second, "network: expected ", item.substr(0, equals),
          " once, got it twice in ", text);
    with_key(spec, item.substr(0, equals), [&]<class T>(T& value) {
      check(parse(item.substr(equals + 1), value), "network: expected ", kWanted<T>, ", got \"",
            item, "\" in ", text);
    });
  }
  return resolved(spec);
}

Json to_json(const NetworkSpec& spec, bool all) {
  const NetworkSpec full = resolved(spec);
  Json json = {{"decoder", full.decoder},
               {"encoder", full.encoder},
               {"in_channels", full.in_channels},
               {"classes", full.classes}};
  if (is_thin(full)) json["width"] = full.width;
  if (all || is_thin(full) || full.depth != decoder_kind(full.decoder).usual_depth)
    json["depth"] = full.depth;
  visit_unusual(full, [&](std::string_view key, const auto& value) { json[key] = value; });
  if (all)
    visit_options(full.options, [&](std::string_view key, const auto& option) {
      if (option) json[key] = *option;
    });
  return json;
}

NetworkSpec network_spec_from_json(const Json& json) {
  check(json.is_object(), "network: expected a JSON object, got ", json.type_name());
  NetworkSpec spec;
  for (const auto& [key, value] : json.items()) {
    if (key == "decoder" || key == "encoder")
      read(key, value, key == "decoder" ? spec.decoder : spec.encoder);
    else
      with_key(spec, key, [&](auto& to) { read(key, value, to); });
  }
  return resolved(spec);
}

}  // namespace decant::nn
