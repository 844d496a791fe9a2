#include "nn/registry.h"

#include <map>

#include "engine/core/nearest_name.h"

namespace decant::nn {
namespace {

using MakeEncoder = std::function<std::unique_ptr<Encoder>(const NetworkSpec&)>;

template <class Entry>
using Table = std::map<std::string, Entry, std::less<>>;

// Functions, not globals: registration runs before main, in an order nobody promises.
Table<MakeEncoder>& encoders() {
  static Table<MakeEncoder> table;
  return table;
}
Table<DecoderKind>& decoders() {
  static Table<DecoderKind> table;
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
  std::string spelt(name);  // Unet++ is unetplusplus
  for (size_t at = spelt.find('+'); at != std::string::npos; at = spelt.find('+'))
    spelt.replace(at, 1, "plus");
  const std::string hint = did_you_mean(spelt, names);
  throw Error(str("network: there is no ", kind, " \"", name, '"', hint.empty() ? "." : hint,
                  " Known: ", known));
}

}  // namespace

bool register_encoder(std::string_view name, MakeEncoder make) {
  return encoders().emplace(std::string(name), std::move(make)).second;
}

bool register_decoder(std::string_view name, DecoderKind kind) {
  return decoders().emplace(std::string(name), std::move(kind)).second;
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
  return decoder_kind(spec.decoder).make(channels, spec);
}

const DecoderKind& decoder_kind(std::string_view decoder) {
  return find(decoders(), decoder, "decoder");
}

}  // namespace decant::nn
