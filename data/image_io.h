#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace decant::data {

/// A decoded picture, 8 bits per value, channels interleaved: pixels[(y * width + x) * channels +
/// c].
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int w, int h, int c)
      : width(w),
        height(h),
        channels(c),
        pixels(static_cast<size_t>(w) * static_cast<size_t>(h) * static_cast<size_t>(c)) {}

  uint8_t& at(int x, int y, int c = 0) { return pixels[index(x, y, c)]; }
  uint8_t at(int x, int y, int c = 0) const { return pixels[index(x, y, c)]; }

 private:
  size_t index(int x, int y, int c) const {
    return (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) *
               static_cast<size_t>(channels) +
           static_cast<size_t>(c);
  }
};

/// Which values a mask file held, before they were read as 0 and 1.
struct MaskValues {
  int largest = 0;
  bool has_zero = false;    ///< whether any pixel is 0
  double odd_share = 0;     ///< share of pixels that are neither 0 nor the largest value
  double middle_share = 0;  ///< share of pixels in 64 .. 191
  /// Whether the pixels are 0 and one other value: background and lesion, however dark that is.
  bool two_valued() const { return has_zero && largest > 0 && odd_share == 0; }
  /// Whether the meaning is open: not two values of which one is 0, and the largest value is
  /// neither 1 nor above 127, or more than 5 % of the pixels lie in the middle, as in a photograph.
  bool ambiguous() const {
    return !two_valued() && ((largest > 1 && largest <= 127) || middle_share > 0.05);
  }
};

struct Mask {
  Image image;  ///< one channel, 0 or 1
  MaskValues values;
};

struct ImageSize {
  int width = 0;
  int height = 0;
  bool operator==(const ImageSize&) const = default;
};

/// PNG, JPEG or BMP, recognised by its first bytes whatever its name.
///   channels 3: grey is repeated; channels 1: luma of RGB; alpha is dropped, 16 bits become 8.
/// Throws Error naming the file and the reason: missing, no image, damaged (PNG checksums are
/// verified, a JPEG must reach its end, a BMP hold all its rows), larger than 32768 pixels a side
/// or 2^26 pixels in all.
Image read_image(const std::filesystem::path& path, int channels);

/// A mask: 1, 8 or 16 bits, palette, grey, RGB or RGBA, holding 0/1 or 0/255, as 0 and 1.
/// Coloured masks count where any channel is set; alpha counts only where the colours say nothing
/// and alpha does. Values: 0 and one other -> 0 and 1; otherwise 1 where > 127. What was odd
/// is told in `values`; callers decide. Throws Error as read_image does.
Mask read_mask(const std::filesystem::path& path);

/// Width and height from the file's header; the file is checked, not decoded. Throws Error as
/// read_image does.
ImageSize read_image_size(const std::filesystem::path& path);

/// Whether the file's name ends as one of the formats do: .png .jpg .jpeg .bmp, in any case.
bool has_image_suffix(const std::filesystem::path& path);

/// A PNG with 1, 3 or 4 channels: same pixels, same bytes.
std::string png_bytes(const Image& image);

/// Writes it through write_file_atomically.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace decant::data
