#include "nn/files/npy.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "engine/io/file_type.h"
#include "nn/files/byte_reader.h"
#include "nn/files/byte_writer.h"

namespace decant::nn {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;

struct Description {
  std::string_view name;  // without the byte order
  FileType type;
};

constexpr Description kTypes[] = {
    {"f8", FileType::f64}, {"f4", FileType::f32}, {"f2", FileType::f16},    {"i8", FileType::i64},
    {"i4", FileType::i32}, {"i2", FileType::i16}, {"i1", FileType::i8},     {"u4", FileType::u32},
    {"u2", FileType::u16}, {"u1", FileType::u8},  {"b1", FileType::boolean}};

/// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class Header {
 public:
  Header(std::string_view text, std::string_view what) : rest_(text), what_(what) {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr")
        description_ = quoted();
      else if (key == "fortran_order")
        fortran_ = truth();
      else if (key == "shape")
        extents_ = tuple();
      else
        throw Error(str(what_, ": expected descr, fortran_order and shape in the header, got \"",
                        shown(key), '"'));
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    check(description_ && fortran_ && extents_ && word().empty() && rest_.empty(), what_,
          ": expected a header of descr, fortran_order and shape, got another one");
  }

  StoredTensor tensor(std::span<const std::byte> bytes) const {
    StoredTensor stored{type(), Shape(*extents_), {}, 0, bytes};
    if (!*fortran_ || stored.shape.size() == 0) return stored;
    int64_t step = 1;
    for (const int64_t extent : *extents_) {
      stored.strides.push_back(step);
      step *= extent;
    }
    return stored;
  }

 private:
  FileType type() const {
    const std::string_view order = description_->substr(0, 1);
    const auto* found =
        std::ranges::find(kTypes, description_->substr(order.size()), &Description::name);
    check(found != std::end(kTypes) && (order == "<" || order == "|"), what_,
          ": expected little-endian numbers, got an array of \"", shown(*description_), '"');
    return found->type;
  }

  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size()));
  }
  bool accept(char c) {
    skip_spaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    check(accept(c), what_, ": expected '", c, "' in the header, got \"", shown(rest_), '"');
  }
  std::string_view quoted() {
    skip_spaces();
    const char quote = rest_.starts_with('"') ? '"' : '\'';
    expect(quote);
    const size_t end = rest_.find(quote);
    check(end != std::string_view::npos, what_, ": expected the end of a name in the header");
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  /// Letters and digits.
  std::string_view word() {
    skip_spaces();
    const auto end = std::ranges::find_if(rest_, [](char c) {
      return !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9');
    });
    const std::string_view text(rest_.begin(), end);
    rest_.remove_prefix(text.size());
    return text;
  }
  bool truth() {
    const std::string_view text = word();
    check(text == "True" || text == "False", what_,
          ": expected True or False in the header, got \"", shown(text), '"');
    return text == "True";
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> extents;
    expect('(');
    while (!accept(')')) {
      const std::string_view text = word();
      int64_t extent = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
      check(error == std::errc() && end == text.data() + text.size() && !text.empty() &&
                extents.size() < Shape::kMaxRank,
            what_, ": expected a shape of at most ", Shape::kMaxRank, " extents, got \"",
            shown(text), '"');
      extents.push_back(extent);
      if (accept(',')) continue;
      expect(')');
      break;
    }
    return extents;
  }

  std::string_view rest_;
  std::string_view what_;
  std::optional<std::string_view> description_;
  std::optional<bool> fortran_;
  std::optional<std::vector<int64_t>> extents_;
};

std::string_view description_of(FileType type) {
  return std::ranges::find(kTypes, type, &Description::type)->name;
}

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, std::string_view what) {
  ByteReader in(bytes, what);
  check(in.text(std::min<uint64_t>(in.left(), kMagic.size())) == kMagic, what,
        ": expected a file of numpy.save, got another one");
  const auto version = in.number<uint8_t>();
  in.number<uint8_t>();
  check(version >= 1 && version <= 3, what, ": expected version 1 to 3 of numpy's format, got ",
        int{version});
  const uint64_t header_bytes = version == 1 ? in.number<uint16_t>() : in.number<uint32_t>();
  const Header header(in.text(header_bytes), what);
  try {
    const StoredTensor stored = header.tensor(in.take(in.left()));
    const uint64_t needed = static_cast<uint64_t>(stored.shape.size()) * about(stored.type).bytes;
    check(needed == stored.bytes.size(), "expected ", needed, " bytes for ", stored.shape, ", got ",
          stored.bytes.size());
    return stored.read();
  } catch (const Error& error) {
    const std::string_view message = error.what();
    throw Error(message.starts_with(what) ? std::string(message) : str(what, ": ", message));
  }
}

std::vector<std::byte> npy_bytes(const Tensor& tensor) {
  const FileTypeInfo& type = file_type_of(tensor.dtype());
  std::string shape;
  for (const int64_t extent : tensor.shape().extents()) shape += str(extent, ", ");
  if (tensor.shape().rank() == 1) shape.pop_back();  // (3,) but (2, 3) and ()
  if (tensor.shape().rank() > 1) shape.resize(shape.size() - 2);
  std::string header = str("{'descr': '", type.bytes == 1 ? '|' : '<', description_of(type.type),
                           "', 'fortran_order': False, 'shape': (", shape, "), }");
  const size_t prefix = kMagic.size() + 4;
  const size_t whole = (prefix + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(whole - prefix - 1, ' ');
  header += '\n';

  ByteWriter out;
  out.text(kMagic);
  out.number(uint8_t{1});
  out.number(uint8_t{0});
  out.number(static_cast<uint16_t>(header.size()));
  out.text(header);
  if (tensor.size() > 0)
    with_type(tensor.dtype(), [&]<class T>() { out.put(std::as_bytes(tensor.values<T>())); });
  return out.take();
}

}  // namespace decant::nn
