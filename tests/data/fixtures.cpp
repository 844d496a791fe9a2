#include "tests/data/fixtures.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "engine/core/rng.h"

namespace decant::data {

namespace fs = std::filesystem;

TempFolder::TempFolder() {
  std::string name = (fs::temp_directory_path() / "decant_data_XXXXXX").string();
  path_ = ::mkdtemp(name.data());
}

TempFolder::~TempFolder() {
  std::error_code code;
  fs::remove_all(path_, code);
}

fs::path TempFolder::at(const std::string& name) const {
  const fs::path file = path_ / name;
  fs::create_directories(file.parent_path());
  return file;
}

void write_bytes(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void truncate_file(const fs::path& path, double share) {
  fs::resize_file(path, static_cast<uintmax_t>(share * static_cast<double>(fs::file_size(path))));
}

namespace {

std::string big_endian(uint32_t v) {
  std::string out;
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(v >> shift);
  return out;
}

uint32_t bitwise_crc32(const std::string& bytes) {
  uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

// One stored block, uncompressed.
std::string zlib(const std::string& data) {
  uint32_t a = 1;
  uint32_t b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  const auto size = static_cast<uint16_t>(data.size());
  const auto inverse = static_cast<uint16_t>(~size);
  std::string out = "\x78\x01\x01";
  for (const uint16_t v : {size, inverse}) {
    out += static_cast<char>(v & 255);
    out += static_cast<char>(v >> 8);
  }
  return out + data + big_endian(b << 16 | a);
}

}  // namespace

std::string png_chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<uint32_t>(data.size())) + type + data +
         big_endian(bitwise_crc32(type + data));
}

std::string encode_png(int width, int height, int bits, int colour,
                       const std::vector<std::string>& rows, const std::string& palette) {
  std::string header =
      big_endian(static_cast<uint32_t>(width)) + big_endian(static_cast<uint32_t>(height));
  for (const int v : {bits, colour, 0, 0, 0}) header += static_cast<char>(v);
  std::string data;
  for (const std::string& row : rows) data += '\0' + row;
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) +
         (palette.empty() ? "" : png_chunk("PLTE", palette)) + png_chunk("IDAT", zlib(data)) +
         png_chunk("IEND", "");
}

// Bilinear between 7 x 7 random values, at positions in shares of the size: the same seed shows the
// same picture in every size.
Image random_image(int width, int height, uint64_t seed, int channels) {
  const Rng rng(RngKey::of(seed, "test image"));
  const auto value = [&](int x, int y) {
    return rng.uniform(static_cast<uint64_t>(y * 7 + x), 0, 255);
  };
  Image image(width, height, channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double u = (x + 0.5) / width * 6;
      const double v = (y + 0.5) / height * 6;
      const int i = static_cast<int>(u);
      const int j = static_cast<int>(v);
      const double top = std::lerp(value(i, j), value(i + 1, j), u - i);
      const double bottom = std::lerp(value(i, j + 1), value(i + 1, j + 1), u - i);
      for (int c = 0; c < channels; ++c)
        image.at(x, y, c) = static_cast<uint8_t>(std::lerp(top, bottom, v - j));
    }
  }
  return image;
}

Image disc(int width, int height, double cx, double cy, double radius) {
  Image image(width, height, 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      image.at(x, y) = (x - cx) * (x - cx) + (y - cy) * (y - cy) < radius * radius ? 255 : 0;
  return image;
}

Point centre(const Frame& f, float background) {
  double sum = 0, x_sum = 0, y_sum = 0;
  for (int y = 0; y < f.height; ++y) {
    for (int x = 0; x < f.width; ++x) {
      const double v = f.image[static_cast<size_t>((y * f.width + x) * f.channels)] - background;
      sum += v;
      x_sum += v * x;
      y_sum += v * y;
    }
  }
  return {x_sum / sum, y_sum / sum};
}

Image bump(int width, int height, double cx, double cy, double sigma, int channels) {
  Image image(width, height, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.at(x, y, c) = static_cast<uint8_t>(std::lround(
            250 * std::exp(-((x - cx) * (x - cx) + (y - cy) * (y - cy)) / (2 * sigma * sigma))));
  return image;
}

Image ones(Image mask) {
  for (uint8_t& v : mask.pixels) v = v != 0;
  return mask;
}

}  // namespace decant::data
