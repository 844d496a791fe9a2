#include "nn/registry.h"

#include <map>

#include "engine/core/nearest_name.h"
#include "nn/network_spec.h"

namespace decant::nn {
namespace {

using MakeEncoder = std::function<std::unique_ptr<Encoder>(const NetworkSpec&)>;
using MakeDecoder = std::function<std::unique_ptr<Decoder>(const std::vector<int64_t>& channels,
                                                           const NetworkSpec&)>;

struct DecoderEntry {
  MakeDecoder make;
  std::string own_encoder;
};

template <class Entry>
using Table = std::map<std::string, Entry, std::less<>>;

// Functions, not globals: registration runs before main, in an order nobody promises.
Table<MakeEncoder>& encoders() {
  static Table<MakeEncoder> table;
  return table;
}
Table<DecoderEntry>& decoders() {
  static Table<DecoderEntry> table;
  return table;
}

template <class Entry>
std::vector<std::string> names_of(const Table<Entry>& table) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : table) names.push_back(name);
  return names;
}

template <class Entry>
const Entry& find(const Table<Entry>& table, std::string_view name, const char* kind) {
  const auto found = table.find(name);
  if (found != table.end()) return found->second;
  const std::vector<std::string> names = names_of(table);
  std::string known;
  for (const std::string& candidate : names) known += (known.empty() ? "" : ", ") + candidate;
  throw Error(str("network: there is no ", kind, " \"", name, "\"; did you mean \"",
                  nearest_name(name, names), "\"? Known: ", known));
}

}  // namespace

bool register_encoder(std::string_view name, MakeEncoder make) {
  return encoders().emplace(std::string(name), std::move(make)).second;
}

bool register_decoder(std::string_view name, MakeDecoder make, std::string_view own) {
  return decoders()
      .emplace(std::string(name), DecoderEntry{std::move(make), std::string(own)})
      .second;
}

std::vector<std::string> encoder_names() {
  return names_of(encoders());
}
std::vector<std::string> decoder_names() {
  return names_of(decoders());
}

std::unique_ptr<Encoder> make_encoder(const NetworkSpec& spec) {
  return find(encoders(), spec.encoder, "encoder")(spec);
}

std::unique_ptr<Decoder> make_decoder(const NetworkSpec& spec,
                                      const std::vector<int64_t>& channels) {
  return find(decoders(), spec.decoder, "decoder").make(channels, spec);
}

const std::string& own_encoder(std::string_view decoder) {
  return find(decoders(), decoder, "decoder").own_encoder;
}

}  // namespace decant::nn
