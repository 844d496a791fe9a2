#include "engine/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "engine/core/shown.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file_type.h"
#include "engine/io/mapped_file.h"

namespace decant {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kLengthBytes = 8;
constexpr int kMaxDepth = 3;  // {"name": {"shape": [..]}}

// The types that are written, in the order of the reference writer: as its DType enum lists them,
// the last first. Within a type tensors go by name.
constexpr DType kWritten[] = {DType::i64, DType::f64, DType::f32, DType::i32, DType::u8};

std::ptrdiff_t rank_of(const NamedTensor& named) {
  const auto* found = std::ranges::find(kWritten, named.tensor.dtype());
  if (found == std::end(kWritten))
    throw Error(str("safetensors: expected \"", shown(named.name),
                    "\" of float32, float64, int32, int64 or uint8, got ", named.tensor.dtype()));
  return found - std::begin(kWritten);
}

/// The beginning of a value, for messages.
std::string shown_value(const Json& json) {
  return shown(json.dump(-1, ' ', true, Json::error_handler_t::replace));
}

/// Walks a header's text before anything is made of it, and refuses what JSON lets pass: a name
/// that stands there twice, and nesting beyond a header's, which all that walks the values by
/// recursion would have to survive. (The library's own callback would do, but for each object it
/// looks through all before it.)
struct HeaderWalk : nlohmann::json_sax<Json> {
  explicit HeaderWalk(std::string_view file) : what(file) {}

  bool open() {
    check(++depth <= kMaxDepth, what, ": expected a header nested at most ", kMaxDepth,
          " deep, got a deeper one");
    return true;
  }
  bool start_object(size_t) override {
    names.emplace_back();
    return open();
  }
  bool end_object() override {
    names.pop_back();
    --depth;
    return true;
  }
  bool start_array(size_t) override { return open(); }
  bool end_array() override {
    --depth;
    return true;
  }
  bool key(std::string& name) override {
    if (!names.back().insert(name).second && twice.empty()) twice = name;
    if (names.size() == 1) order.push_back(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const Json::exception& error) override {
    throw Error(str(what, ": expected a header of JSON, got something else (",
                    shown(error.what(), 200), ")"));
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }

  std::string_view what;
  int depth = 0;
  std::vector<std::set<std::string>> names;  ///< of each object that is open
  std::vector<std::string> order;            ///< the outermost object's names as they come
  std::string twice;
};

struct Header {
  Json json;
  std::vector<std::string> names;  ///< of its outermost object, in the file's order
};

Header parse_header(std::string_view text, std::string_view what) {
  HeaderWalk walk(what);
  Json::sax_parse(text, &walk);
  check(walk.twice.empty(), what, ": the name \"", shown(walk.twice),
        "\" stands twice in the header");
  return {Json::parse(text), std::move(walk.order)};
}

struct Entry {
  std::string name;
  const FileTypeInfo* type;
  Shape shape;
  uint64_t begin;
  uint64_t end;
};

uint64_t whole_number(const Json& value, std::string_view what, const std::string& name) {
  if (!value.is_number_unsigned())
    throw Error(
        str(what, ": expected whole numbers in \"", shown(name), "\", got ", shown_value(value)));
  return value.get<uint64_t>();
}

Shape shape_of(const Json& json, std::string_view what, const std::string& name) {
  if (!json.is_array() || json.size() > Shape::kMaxRank)
    throw Error(str(what, ": expected at most ", Shape::kMaxRank, " extents for \"", shown(name),
                    "\", got ", shown_value(json)));
  std::vector<int64_t> extents;
  // No file is as large as 2^56 bytes: a product that passes this cannot overflow below.
  constexpr uint64_t kLimit = uint64_t{1} << 56;
  uint64_t product = 1;
  for (const Json& extent : json) {
    const uint64_t n = whole_number(extent, what, name);
    if (n >= kLimit || (n != 0 && product >= kLimit / n))
      throw Error(
          str(what, ": the shape of \"", shown(name), "\", ", shown_value(json), ", is too large"));
    product *= n;
    extents.push_back(static_cast<int64_t>(n));
  }
  return Shape(extents);
}

Entry read_entry(const std::string& name, const Json& json, std::string_view what) {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets") || !json["dtype"].is_string())
    throw Error(str(what, ": expected dtype, shape and data_offsets for \"", shown(name),
                    "\", got ", shown_value(json)));
  const auto dtype = json["dtype"].get<std::string>();
  const FileTypeInfo* type = find_file_type(dtype);
  check(type != nullptr, what, ": \"", shown(name), "\" is of type ", shown(dtype),
        "; expected F64, F32, F16, BF16, I64, I32, I16, I8, U32, U16, U8 or BOOL");
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    throw Error(str(what, ": expected two data_offsets for \"", shown(name), "\", got ",
                    shown_value(offsets)));
  const Entry entry{.name = name,
                    .type = type,
                    .shape = shape_of(json["shape"], what, name),
                    .begin = whole_number(offsets[0], what, name),
                    .end = whole_number(offsets[1], what, name)};
  check(entry.begin <= entry.end &&
            entry.end - entry.begin == static_cast<uint64_t>(entry.shape.size()) * type->bytes,
        what, ": \"", shown(name), "\" of ", dtype, ' ', entry.shape, " does not fill bytes ",
        entry.begin, " to ", entry.end);
  return entry;
}

void read_metadata(const Json& json, std::string_view what, TensorFile& file) {
  check(json.is_object(), what, ": expected an object of strings as __metadata__, got ",
        json.type_name());
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      throw Error(str(what, ": expected a string for __metadata__ \"", shown(key), "\", got ",
                      shown_value(value)));
    file.metadata[key] = value.get<std::string>();
  }
}

/// JSON holds nothing but UTF-8, and dump() throws an error of its own where text is something
/// else.
void expect_utf8(const std::string& text, const std::string& what) {
  try {
    Json(text).dump();
  } catch (const Json::exception&) {
    throw Error(
        str("safetensors: expected UTF-8 text for ", what, ", got ", shown_value(Json(text))));
  }
}

/// The entries' ranges must cover the data once, without holes.
void check_ranges(const std::vector<Entry>& entries, uint64_t data_bytes, std::string_view what) {
  std::vector<const Entry*> sorted;
  sorted.reserve(entries.size());
  for (const Entry& entry : entries) sorted.push_back(&entry);
  std::ranges::sort(sorted, [](const Entry* a, const Entry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t at = 0;
  for (const Entry* entry : sorted) {
    check(entry->begin == at, what, ": \"", shown(entry->name), "\" begins at byte ", entry->begin,
          " of the data, expected ", at);
    at = entry->end;
  }
  check(at == data_bytes, what, ": expected ", at, " bytes of data, got ", data_bytes,
        at > data_bytes ? " (the file is cut short)" : "");
}

}  // namespace

const Tensor* TensorFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  return found == tensors.end() ? nullptr : &found->tensor;
}

const Tensor& TensorFile::at(std::string_view name) const {
  const Tensor* tensor = find(name);
  check(tensor != nullptr, "safetensors: there is no tensor \"", shown(name), "\"");
  return *tensor;
}

// Nothing is taken from memory for data before the header has passed every check.
TensorFile parse_safetensors(std::span<const std::byte> bytes, std::string_view what) {
  check(bytes.size() >= kLengthBytes, what, ": expected a safetensors file, got ", bytes.size(),
        " bytes");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const std::span rest = bytes.subspan(kLengthBytes);
  check(header_bytes >= 2 && header_bytes <= kMaxHeaderBytes && !rest.empty() &&
            rest[0] == std::byte{'{'},
        what, ": not a safetensors file (no header at byte 8)");
  check(header_bytes <= rest.size(), what, ": expected a header of ", header_bytes, " bytes, got ",
        rest.size(), " (the file is cut short)");

  const auto* text = reinterpret_cast<const char*>(rest.data());
  const Header header = parse_header({text, header_bytes}, what);
  TensorFile file;
  std::vector<Entry> entries;
  for (const std::string& name : header.names) {
    const Json& value = header.json[name];
    if (name == "__metadata__")
      read_metadata(value, what, file);
    else
      entries.push_back(read_entry(name, value, what));
  }
  const std::span data = rest.subspan(header_bytes);
  check_ranges(entries, data.size(), what);
  for (const Entry& entry : entries) {
    try {
      const StoredTensor stored{.type = entry.type->type,
                                .shape = entry.shape,
                                .strides = {},
                                .bytes = data.subspan(entry.begin, entry.end - entry.begin)};
      file.tensors.push_back({entry.name, stored.read()});
    } catch (const Error& error) {
      throw Error(str(what, ": cannot read \"", shown(entry.name), "\" of ", entry.type->name, ' ',
                      entry.shape, ": ", error.what()));
    }
  }
  return file;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_safetensors(file.bytes(), path.string());
}

std::vector<std::byte> safetensors_bytes(const TensorFile& file) {
  std::vector<std::tuple<std::ptrdiff_t, std::string_view, const Tensor*>> order;
  order.reserve(file.tensors.size());
  for (const NamedTensor& named : file.tensors)
    order.emplace_back(rank_of(named), named.name, &named.tensor);
  std::ranges::sort(order);
  const auto bytes_of = [](const Tensor& t) {
    return static_cast<uint64_t>(t.size()) * size_of(t.dtype());
  };
  std::set<std::string_view> names;
  uint64_t data_bytes = 0;
  for (const auto& [rank, name, tensor] : order) {
    check(name != "__metadata__" && names.insert(name).second,
          "safetensors: expected unique names, got \"", shown(name), "\" again");
    data_bytes += bytes_of(*tensor);
  }

  for (const auto& [key, value] : file.metadata) {
    expect_utf8(key, "a metadata key");
    expect_utf8(value, str("metadata \"", key, '"'));
  }
  for (const NamedTensor& tensor : file.tensors) expect_utf8(tensor.name, "a tensor's name");

  // Not one object of JSON: that would look through all names for each new one, or sort them.
  std::string text;
  const auto append = [&](std::string_view name, const nlohmann::ordered_json& value) {
    text += text.empty() ? '{' : ',';
    text += Json(name).dump() + ':' + value.dump();
  };
  if (!file.metadata.empty()) append("__metadata__", file.metadata);
  uint64_t begin = 0;
  for (const auto& [rank, name, tensor] : order) {
    const uint64_t end = begin + bytes_of(*tensor);
    append(name, {{"dtype", file_type_of(tensor->dtype()).name},
                  {"shape", tensor->shape().extents()},
                  {"data_offsets", {begin, end}}});
    begin = end;
  }
  text += text.empty() ? "{}" : "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');

  const uint64_t header_bytes = text.size();
  std::vector<std::byte> bytes(kLengthBytes + text.size() + data_bytes);
  std::memcpy(bytes.data(), &header_bytes, kLengthBytes);
  std::memcpy(bytes.data() + kLengthBytes, text.data(), text.size());
  std::byte* to = bytes.data() + kLengthBytes + text.size();
  for (const auto& [rank, name, tensor] : order) {
    if (tensor->size() == 0) continue;
    with_type(tensor->dtype(), [&, values = tensor]<class T>() {
      std::memcpy(to, values->data<T>(), bytes_of(*values));
    });
    to += bytes_of(*tensor);
  }
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  write_file_atomically(path, safetensors_bytes(file));
}

}  // namespace decant
