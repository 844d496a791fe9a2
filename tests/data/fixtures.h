#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/augment.h"
#include "data/image_io.h"

namespace decant::data {

/// A folder that exists as long as this object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// path() / name, with the folders above it made.
  std::filesystem::path at(const std::string& name) const;

 private:
  std::filesystem::path path_;
};

void write_bytes(const std::filesystem::path& path, std::string_view bytes);
std::string read_bytes(const std::filesystem::path& path);
/// Keeps the first `share` of a file.
void truncate_file(const std::filesystem::path& path, double share);

/// A PNG of any kind, written independently of the code under test: `rows` holds each row's packed
/// bytes. colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
std::string encode_png(int width, int height, int bits, int colour,
                       const std::vector<std::string>& rows, const std::string& palette = "");
/// A chunk of a PNG, its checksum right.
std::string png_chunk(const std::string& type, const std::string& data);

/// Blotches that no other seed repeats, one channel.
Image random_image(int width, int height, uint64_t seed, int channels = 1);
/// 255 inside a disc.
Image disc(int width, int height, double cx, double cy, double radius);

struct Point {
  double x, y;
};

/// Centre of mass of channel 0, after taking off `background`.
Point centre(const Frame& f, float background = 0);
/// A smooth bump of width `sigma` on black.
Image bump(int width, int height, double cx, double cy, double sigma, int channels = 1);
/// The same with 1 for what is not 0.
Image ones(Image mask);

/// Message of the Error that f throws; "" if it throws none.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace decant::data
