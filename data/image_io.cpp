#include "data/image_io.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <string_view>

#include "engine/core/error.h"
#include "engine/io/atomic_file.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#include <stb_image.h>
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace decant::data {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int64_t kMaxFileBytes = int64_t{1} << 29;
constexpr int64_t kMaxPixels = int64_t{1} << 26;
constexpr int64_t kMaxSide = 32768;

Bytes read_bytes(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  check(std::filesystem::status_known(status), path.string(), ": ", code.message());
  check(std::filesystem::exists(status), path.string(), ": no such file");
  check(std::filesystem::is_regular_file(status), path.string(), ": not a file");
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  check(in.good(), path.string(), ": cannot open it");
  const auto size = static_cast<int64_t>(in.tellg());
  check(size > 0, path.string(), ": the file is empty");
  check(size <= kMaxFileBytes, path.string(), ": expected at most ", kMaxFileBytes, " bytes, got ",
        size);
  Bytes bytes(static_cast<size_t>(size));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), size);
  check(in.gcount() == size, path.string(), ": cannot read it");
  return bytes;
}

uint32_t big_endian(const uint8_t* p) {
  return (uint32_t{p[0]} << 24) | (uint32_t{p[1]} << 16) | (uint32_t{p[2]} << 8) | p[3];
}

uint32_t crc32(std::span<const uint8_t> bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = (t[i] >> 1) ^ ((t[i] & 1) ? 0xEDB88320U : 0U);
    }
    return t;
  }();
  uint32_t crc = ~0U;
  for (const uint8_t byte : bytes) crc = table[(crc ^ byte) & 255] ^ (crc >> 8);
  return ~crc;
}

// stb_image ignores checksums and fills what is missing, so that a damaged file would train as a
// picture. These three look at the whole file first; they return what is wrong, or nullptr.

// A chunk may be passed over where its name begins in lower case. Of another that it does not know
// stb_image writes the name, whatever bytes that is, into its message, which all threads share.
constexpr std::array<std::string_view, 4> kChunks = {"IHDR", "PLTE", "IDAT", "CgBI"};
bool must_be_known(std::string_view name) {
  return (static_cast<uint8_t>(name[0]) & 0x20) == 0;
}

const char* png_damage(std::span<const uint8_t> bytes) {
  size_t at = 8;
  while (at + 12 <= bytes.size()) {
    const size_t length = big_endian(&bytes[at]);
    if (length > bytes.size() - at - 12) return "truncated PNG";
    if (crc32(bytes.subspan(at + 4, length + 4)) != big_endian(&bytes[at + 8 + length]))
      return "damaged PNG, a checksum does not match";
    const std::string_view name(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    if (name == "IEND") return nullptr;
    if (must_be_known(name) && std::ranges::find(kChunks, name) == kChunks.end())
      return "damaged PNG, an unknown chunk";
    at += length + 12;
  }
  return "truncated PNG";
}

// stb_image writes beyond its table where a Huffman table counts more than 256 codes. The tables
// of a segment, from `begin` on, are a class byte, 16 counts and the codes each. One that begins
// inside the segment counts even where it runs over the end: the decoder reads on.
bool huffman_tables_fit(std::span<const uint8_t> bytes, size_t begin, size_t end) {
  for (size_t table = begin; table < end;) {
    size_t codes = 0;
    for (size_t i = table + 1; i <= table + 16 && i < bytes.size(); ++i) codes += bytes[i];
    if (codes > 256) return false;
    table += 17 + codes;
  }
  return true;
}

// Walks the segments by their lengths, as the decoder does: what looks like a marker inside one (in
// a thumbnail or a colour profile) is none. Behind a scan's header come its entropy-coded data, in
// which 0xFF 0x00 and restart markers belong to the data, up to the next marker.
bool all_huffman_tables_fit(std::span<const uint8_t> bytes) {
  size_t at = 2;
  while (at + 4 <= bytes.size()) {
    const uint8_t kind = bytes[at + 1];
    const bool is_restart = kind >= 0xD0 && kind <= 0xD7;
    if (bytes[at] != 0xFF || kind == 0xFF || kind == 0 || is_restart) {
      ++at;
      continue;
    }
    if (kind == 0xD9) return true;
    const size_t end = std::min(at + 2 + bytes[at + 2] * size_t{256} + bytes[at + 3], bytes.size());
    if (kind == 0xC4 && !huffman_tables_fit(bytes, at + 4, end)) return false;
    at = std::max(end, at + 4);
  }
  return true;
}

const char* jpeg_damage(std::span<const uint8_t> bytes) {
  if (!all_huffman_tables_fit(bytes)) return "damaged JPEG, a Huffman table is too long";
  // Inside the last scan 0xFF is followed by 0 or a restart marker, never by the end marker.
  for (size_t i = bytes.size() - 1; i-- > 2;) {
    if (bytes[i] != 0xFF) continue;
    if (bytes[i + 1] == 0xD9) return nullptr;
    if (bytes[i + 1] == 0xDA) break;
  }
  return "truncated JPEG";
}

// The low `count` bytes at `at`, the least first; 0 for what lies beyond the end.
int64_t little_endian(std::span<const uint8_t> bytes, size_t at, size_t count) {
  int64_t value = 0;
  for (size_t i = 0; i < count && at + i < bytes.size(); ++i)
    value |= int64_t{bytes[at + i]} << (8 * i);
  return value;
}

// What the header says of the place and the size of the pixels must lie in the file. Rows are
// padded to 4 bytes. stb_image refuses the rest: other headers, depths and kinds of compression.
const char* bmp_damage(std::span<const uint8_t> bytes) {
  constexpr size_t kSmallest = 26;  // the file's header and the shortest of the pictures'
  if (bytes.size() < kSmallest) return "truncated BMP";
  const bool is_old = little_endian(bytes, 14, 4) == 12;  // OS/2: sides of 16 bits
  const size_t side = is_old ? 2 : 4;
  const int64_t width = little_endian(bytes, 18, side);
  const int64_t rows = little_endian(bytes, 18 + side, side);
  // From the top the number of rows is negative.
  const int64_t height = !is_old && rows > INT32_MAX ? (int64_t{1} << 32) - rows : rows;
  const int64_t bits = little_endian(bytes, 20 + 2 * side, 2);
  const int64_t compression = is_old ? 0 : little_endian(bytes, 30, 4);
  if (compression == 1 || compression == 2)
    return "a BMP with run-length coding, which is not read";
  const int64_t stride = (width * bits + 31) / 32 * 4;
  const int64_t room = static_cast<int64_t>(bytes.size()) - little_endian(bytes, 10, 4);
  const bool fits = room >= 0 && (stride == 0 || height <= room / stride);
  return fits ? nullptr : "truncated BMP";
}

bool starts_with(std::span<const uint8_t> bytes, std::string_view magic) {
  return bytes.size() > 12 && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

/// Bytes of a file whose header says that it is an image of acceptable size.
struct Encoded {
  Bytes bytes;
  ImageSize size;
  int channels = 0;
  int count() const { return static_cast<int>(bytes.size()); }
};

void check_size(const std::filesystem::path& path, int64_t width, int64_t height) {
  check(width > 0 && height > 0 && width <= kMaxSide && height <= kMaxSide &&
            width * height <= kMaxPixels,
        path.string(), ": expected at most ", kMaxPixels, " pixels and ", kMaxSide, " a side, got ",
        width, " x ", height);
}

Encoded read_encoded(const std::filesystem::path& path) {
  Encoded file{read_bytes(path), {}, 0};
  const bool png = starts_with(file.bytes, "\x89PNG\r\n\x1a\n");
  const bool jpeg = starts_with(file.bytes, "\xFF\xD8\xFF");
  const bool bmp = starts_with(file.bytes, "BM");
  check(png || jpeg || bmp, path.string(),
        ": expected a PNG, JPEG or BMP image, got something else");
  const char* damage = png    ? png_damage(file.bytes)
                       : jpeg ? jpeg_damage(file.bytes)
                              : bmp_damage(file.bytes);
  check(damage == nullptr, path.string(), ": ", damage == nullptr ? "" : damage);
  // Of a size beyond its own limit stb_image says that it does not know the type.
  if (png && std::memcmp(&file.bytes[12], kChunks[0].data(), 4) == 0)
    check_size(path, big_endian(&file.bytes[16]), big_endian(&file.bytes[20]));
  const int known = stbi_info_from_memory(file.bytes.data(), file.count(), &file.size.width,
                                          &file.size.height, &file.channels);
  check(known != 0, path.string(), ": ", known ? "" : stbi_failure_reason());
  check_size(path, file.size.width, file.size.height);
  return file;
}

struct FreePixels {
  void operator()(void* p) const { stbi_image_free(p); }
};

std::unique_ptr<uint8_t, FreePixels> decode8(const Encoded& file, int channels,
                                             const std::filesystem::path& path) {
  int w = 0;
  int h = 0;
  int c = 0;
  std::unique_ptr<uint8_t, FreePixels> pixels(
      stbi_load_from_memory(file.bytes.data(), file.count(), &w, &h, &c, channels));
  check(pixels != nullptr, path.string(), ": damaged image (", pixels ? "" : stbi_failure_reason(),
        ")");
  check(w == file.size.width && h == file.size.height, path.string(), ": damaged image");
  return pixels;
}

// 8-bit values of a file with its own channels. Masks of 16 bits hold small numbers or the full
// range; stb_image would drop the low byte, that is, the whole of a mask of 0 and 1.
Bytes decode_mask_values(const Encoded& file, const std::filesystem::path& path) {
  const size_t count = static_cast<size_t>(file.size.width) *
                       static_cast<size_t>(file.size.height) * static_cast<size_t>(file.channels);
  if (!stbi_is_16_bit_from_memory(file.bytes.data(), file.count())) {
    const auto pixels = decode8(file, file.channels, path);
    return {pixels.get(), pixels.get() + count};
  }
  int w = 0;
  int h = 0;
  int c = 0;
  const std::unique_ptr<uint16_t, FreePixels> pixels(
      stbi_load_16_from_memory(file.bytes.data(), file.count(), &w, &h, &c, file.channels));
  check(pixels != nullptr, path.string(), ": damaged image (", pixels ? "" : stbi_failure_reason(),
        ")");
  const std::span<const uint16_t> wide(pixels.get(), count);
  const int shift = *std::ranges::max_element(wide) > 255 ? 8 : 0;
  Bytes bytes(count);
  std::ranges::transform(wide, bytes.begin(),
                         [shift](uint16_t v) { return static_cast<uint8_t>(v >> shift); });
  return bytes;
}

// One value per pixel of c interleaved channels: the largest colour, or alpha where only it varies.
Bytes merge_mask_channels(const Bytes& values, size_t c) {
  if (c == 1) return values;
  const bool has_alpha = c == 2 || c == 4;
  const size_t colours = has_alpha ? c - 1 : c;
  const size_t pixels = values.size() / c;
  Bytes colour(pixels);
  Bytes alpha(pixels, 255);
  for (size_t i = 0; i < pixels; ++i) {
    const auto* p = &values[i * c];
    colour[i] = *std::max_element(p, p + colours);
    if (has_alpha) alpha[i] = p[colours];
  }
  const auto varies = [](const Bytes& b) {
    return std::ranges::any_of(b, [&b](uint8_t v) { return v != b.front(); });
  };
  return !varies(colour) && varies(alpha) ? alpha : colour;
}

}  // namespace

Image read_image(const std::filesystem::path& path, int channels) {
  check(channels == 1 || channels == 3, "read_image: expected 1 or 3 channels, got ", channels);
  const Encoded file = read_encoded(path);
  const auto pixels = decode8(file, channels, path);
  Image image(file.size.width, file.size.height, channels);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.begin());
  return image;
}

Mask read_mask(const std::filesystem::path& path) {
  const Encoded file = read_encoded(path);
  const Bytes values =
      merge_mask_channels(decode_mask_values(file, path), static_cast<size_t>(file.channels));
  Mask mask{Image(file.size.width, file.size.height, 1), {}};
  const int largest = *std::ranges::max_element(values);
  int64_t zeros = 0;
  int64_t odd = 0;
  int64_t middle = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    zeros += values[i] == 0 ? 1 : 0;
    odd += values[i] != 0 && values[i] != largest ? 1 : 0;
    middle += values[i] >= 64 && values[i] <= 191 ? 1 : 0;
  }
  const auto count = static_cast<double>(values.size());
  mask.values = {.largest = largest,
                 .has_zero = zeros > 0,
                 .odd_share = static_cast<double>(odd) / count,
                 .middle_share = static_cast<double>(middle) / count};
  const bool any_is_lesion = largest == 1 || mask.values.two_valued();
  std::ranges::transform(values, mask.image.pixels.begin(), [any_is_lesion](uint8_t v) {
    return static_cast<uint8_t>(v > (any_is_lesion ? 0 : 127));
  });
  return mask;
}

ImageSize read_image_size(const std::filesystem::path& path) {
  return read_encoded(path).size;
}

bool has_image_suffix(const std::filesystem::path& path) {
  std::string suffix = path.extension().string();
  std::ranges::transform(suffix, suffix.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg" || suffix == ".bmp";
}

std::string png_bytes(const Image& image) {
  check(image.channels == 1 || image.channels == 3 || image.channels == 4,
        "png_bytes: expected 1, 3 or 4 channels, got ", image.channels);
  check(image.width > 0 && image.height > 0 &&
            image.pixels.size() == Image(image.width, image.height, image.channels).pixels.size(),
        "png_bytes: expected ", image.width, " x ", image.height, " x ", image.channels,
        " values, got ", image.pixels.size());
  std::string bytes;
  const auto append = [](void* context, void* data, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data),
                                               static_cast<size_t>(size));
  };
  const int done = stbi_write_png_to_func(append, &bytes, image.width, image.height, image.channels,
                                          image.pixels.data(), image.width * image.channels);
  check(done != 0, "png_bytes: cannot encode ", image.width, " x ", image.height, " pixels");
  return bytes;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  write_file_atomically(path, png_bytes(image));
}

}  // namespace decant::data
