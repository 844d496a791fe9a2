#include "engine/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/atomic_file.h"

namespace decant {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "tensor files are little-endian");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kLengthBytes = 8;
constexpr int kMaxDepth = 3;  // {"name": {"shape": [..]}}

/// How a type is called in a file, and what it becomes here.
struct FileType {
  std::string_view name;
  size_t bytes;
  DType dtype;
};

constexpr FileType kTypes[] = {
    {"F32", 4, DType::f32}, {"F64", 8, DType::f64}, {"I32", 4, DType::i32},  {"I64", 8, DType::i64},
    {"U8", 1, DType::u8},   {"F16", 2, DType::f32}, {"BF16", 2, DType::f32}, {"BOOL", 1, DType::u8},
};

std::string_view file_name_of(const NamedTensor& named) {
  // The native types stand first.
  for (const FileType& type : kTypes)
    if (type.dtype == named.tensor.dtype()) return type.name;
  throw Error(str("safetensors: expected \"", named.name,
                  "\" of float32, float64, int32, int64 or uint8, got ", named.tensor.dtype()));
}

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const float sign = bits >> 15 ? -1.0F : 1.0F;
  if (exponent == 31)
    return fraction ? std::numeric_limits<float>::quiet_NaN()
                    : sign * std::numeric_limits<float>::infinity();
  const float value = exponent == 0
                          ? std::ldexp(static_cast<float>(fraction), -24)
                          : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return sign * value;
}

float from_bfloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// Where a file's bytes come from: fills `to` with those from `offset` on, all of which exist.
using ReadBytes = std::function<void(uint64_t offset, std::span<std::byte> to)>;

/// Reads a tensor whose data begins at `offset`, straight into its memory; half types by way of a
/// buffer.
Tensor read_tensor(const FileType& type, const Shape& shape, uint64_t offset,
                   const ReadBytes& read) {
  Tensor tensor(shape, type.dtype);
  if (type.bytes != 2) {
    with_type(type.dtype,
              [&]<class T>() { read(offset, std::as_writable_bytes(tensor.mutable_values<T>())); });
    return tensor;
  }
  std::vector<uint16_t> buffer(1U << 16U);
  std::span<float> rest = tensor.mutable_values<float>();
  while (!rest.empty()) {
    const auto part = std::span(buffer).first(std::min(buffer.size(), rest.size()));
    read(offset, std::as_writable_bytes(part));
    std::ranges::transform(part, rest.begin(), type.name == "F16" ? from_half : from_bfloat);
    offset += part.size_bytes();
    rest = rest.subspan(part.size());
  }
  return tensor;
}

/// The beginning of a value, for messages.
std::string shown(const Json& json) {
  constexpr size_t kShown = 80;
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= kShown ? text : text.substr(0, kShown) + "...";
}

/// Parses the header, refusing what JSON lets pass: a name that stands there twice, and nesting
/// beyond a header's, which all that walks the values by recursion would have to survive.
Json parse_header(std::string_view text, std::string_view what) {
  std::vector<std::set<std::string>> names;  // of each object that is open
  std::string twice;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start)
      check(depth < kMaxDepth, what, ": expected a header nested at most ", kMaxDepth,
            " deep, got a deeper one");
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key &&
        !names.back().insert(parsed.get<std::string>()).second && twice.empty())
      twice = parsed.get<std::string>();
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    check(twice.empty(), what, ": the name \"", twice, "\" stands twice in the header");
    return header;
  } catch (const Json::exception& error) {
    throw Error(str(what, ": expected a header of JSON, got something else (", error.what(), ")"));
  }
}

struct Entry {
  std::string name;
  const FileType* type;
  Shape shape;
  uint64_t begin;
  uint64_t end;
};

uint64_t whole_number(const Json& value, std::string_view what, const std::string& name) {
  if (!value.is_number_unsigned())
    throw Error(str(what, ": expected whole numbers in \"", name, "\", got ", shown(value)));
  return value.get<uint64_t>();
}

Shape shape_of(const Json& json, std::string_view what, const std::string& name) {
  if (!json.is_array() || json.size() > Shape::kMaxRank)
    throw Error(str(what, ": expected at most ", Shape::kMaxRank, " extents for \"", name,
                    "\", got ", shown(json)));
  std::vector<int64_t> extents;
  // No file is as large as 2^56 bytes: a product that passes this cannot overflow below.
  constexpr uint64_t kLimit = uint64_t{1} << 56;
  uint64_t product = 1;
  for (const Json& extent : json) {
    const uint64_t n = whole_number(extent, what, name);
    if (n >= kLimit || (n != 0 && product >= kLimit / n))
      throw Error(str(what, ": the shape of \"", name, "\", ", shown(json), ", is too large"));
    product *= n;
    extents.push_back(static_cast<int64_t>(n));
  }
  return Shape(extents);
}

Entry read_entry(const std::string& name, const Json& json, std::string_view what) {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets") || !json["dtype"].is_string())
    throw Error(str(what, ": expected dtype, shape and data_offsets for \"", name, "\", got ",
                    shown(json)));
  const auto dtype = json["dtype"].get<std::string>();
  const auto* type = std::ranges::find(kTypes, dtype, &FileType::name);
  check(type != std::end(kTypes), what, ": \"", name, "\" is of type ", dtype,
        "; expected F32, F64, F16, BF16, I32, I64, U8 or BOOL");
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    throw Error(str(what, ": expected two data_offsets for \"", name, "\", got ", shown(offsets)));
  const Entry entry{.name = name,
                    .type = type,
                    .shape = shape_of(json["shape"], what, name),
                    .begin = whole_number(offsets[0], what, name),
                    .end = whole_number(offsets[1], what, name)};
  check(entry.begin <= entry.end &&
            entry.end - entry.begin == static_cast<uint64_t>(entry.shape.size()) * type->bytes,
        what, ": \"", name, "\" of ", dtype, ' ', entry.shape, " does not fill bytes ", entry.begin,
        " to ", entry.end);
  return entry;
}

void read_metadata(const Json& json, std::string_view what, TensorFile& file) {
  check(json.is_object(), what, ": expected an object of strings as __metadata__, got ",
        json.type_name());
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      throw Error(
          str(what, ": expected a string for __metadata__ \"", key, "\", got ", shown(value)));
    file.metadata[key] = value.get<std::string>();
  }
}

/// JSON holds nothing but UTF-8, and dump() throws an error of its own where text is something
/// else.
void expect_utf8(const std::string& text, const std::string& what) {
  try {
    Json(text).dump();
  } catch (const Json::exception&) {
    throw Error(str("safetensors: expected UTF-8 text for ", what, ", got ", shown(Json(text))));
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
    check(entry->begin == at, what, ": \"", entry->name, "\" begins at byte ", entry->begin,
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
  check(tensor != nullptr, "safetensors: there is no tensor \"", name, "\"");
  return *tensor;
}

namespace {

/// Nothing is taken from memory for data before the header has passed every check against `size`.
TensorFile read_file(uint64_t size, std::string_view what, const ReadBytes& read) {
  check(size >= kLengthBytes, what, ": expected a safetensors file, got ", size, " bytes");
  uint64_t header_bytes = 0;
  char first = 0;
  read(0, std::as_writable_bytes(std::span(&header_bytes, 1)));
  if (size > kLengthBytes) read(kLengthBytes, std::as_writable_bytes(std::span(&first, 1)));
  check(header_bytes >= 2 && header_bytes <= kMaxHeaderBytes && first == '{', what,
        ": not a safetensors file (no header at byte 8)");
  const uint64_t rest = size - kLengthBytes;
  check(header_bytes <= rest, what, ": expected a header of ", header_bytes, " bytes, got ", rest,
        " (the file is cut short)");

  std::string text(header_bytes, '\0');
  read(kLengthBytes, std::as_writable_bytes(std::span(text)));
  const Json header = parse_header(text, what);
  TensorFile file;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__")
      read_metadata(value, what, file);
    else
      entries.push_back(read_entry(name, value, what));
  }
  check_ranges(entries, rest - header_bytes, what);
  const uint64_t data = kLengthBytes + header_bytes;
  for (const Entry& entry : entries) {
    try {
      file.tensors.push_back(
          {entry.name, read_tensor(*entry.type, entry.shape, data + entry.begin, read)});
    } catch (const Error& error) {
      throw Error(str(what, ": cannot read \"", entry.name, "\" of ", entry.type->name, ' ',
                      entry.shape, ": ", error.what()));
    }
  }
  return file;
}

}  // namespace

TensorFile parse_safetensors(std::span<const std::byte> bytes, std::string_view what) {
  return read_file(bytes.size(), what, [bytes](uint64_t offset, std::span<std::byte> to) {
    std::ranges::copy(bytes.subspan(offset, to.size()), to.begin());
  });
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  std::error_code reason;
  const uint64_t size = std::filesystem::file_size(path, reason);
  check(!reason, path.string(), ": cannot read: ", reason.message());
  std::ifstream in(path, std::ios::binary);
  check(in.good(), path.string(), ": cannot be opened for reading");
  return read_file(size, path.string(), [&](uint64_t offset, std::span<std::byte> to) {
    const auto count = static_cast<std::streamsize>(to.size());
    in.seekg(static_cast<std::streamoff>(offset));
    in.read(reinterpret_cast<char*>(to.data()), count);
    check(in.good(), path.string(), ": expected ", count, " bytes at byte ", offset, ", got ",
          in.gcount());
  });
}

std::vector<std::byte> safetensors_bytes(const TensorFile& file) {
  // Wider types first, so that a reader that maps the file finds each tensor aligned.
  std::vector<const NamedTensor*> order;
  order.reserve(file.tensors.size());
  for (const NamedTensor& tensor : file.tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, std::greater{}, [](const NamedTensor* tensor) {
    return size_of(tensor->tensor.dtype());
  });
  std::map<std::string_view, uint64_t> begins;
  uint64_t data_bytes = 0;
  const auto bytes_of = [](const Tensor& t) {
    return static_cast<uint64_t>(t.size()) * size_of(t.dtype());
  };
  for (const NamedTensor* tensor : order) {
    check(tensor->name != "__metadata__" && begins.emplace(tensor->name, data_bytes).second,
          "safetensors: expected unique names, got \"", tensor->name, "\" again");
    data_bytes += bytes_of(tensor->tensor);
  }

  for (const auto& [key, value] : file.metadata) {
    expect_utf8(key, "a metadata key");
    expect_utf8(value, str("metadata \"", key, '"'));
  }
  for (const NamedTensor& tensor : file.tensors) expect_utf8(tensor.name, "a tensor's name");

  Json header = Json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  for (const NamedTensor& named : file.tensors) {
    const auto& [name, tensor] = named;
    const uint64_t begin = begins[name];
    header[name] = {{"dtype", file_name_of(named)},
                    {"shape", tensor.shape().extents()},
                    {"data_offsets", {begin, begin + bytes_of(tensor)}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');

  const uint64_t header_bytes = text.size();
  std::vector<std::byte> bytes(kLengthBytes + text.size() + data_bytes);
  std::memcpy(bytes.data(), &header_bytes, kLengthBytes);
  std::memcpy(bytes.data() + kLengthBytes, text.data(), text.size());
  std::byte* data = bytes.data() + kLengthBytes + text.size();
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.size() == 0) continue;
    with_type(tensor.dtype(), [&]<class T>() {
      std::memcpy(data + begins[name], tensor.data<T>(), bytes_of(tensor));
    });
  }
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  write_file_atomically(path, safetensors_bytes(file));
}

}  // namespace decant
