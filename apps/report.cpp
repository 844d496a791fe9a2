#include "apps/report.h"

#include <algorithm>
#include <cmath>

#include "data/metrics.h"
#include "engine/core/error.h"

namespace decant::apps {
namespace {

constexpr Colour kGround = {24, 26, 30};
constexpr Colour kTitle = {200, 205, 212};
constexpr int kPreviewHeight = 256;
constexpr int kGap = 6;
constexpr int kTitleHeight = 18;

// Capital letters as 5 x 7 dots, one byte per row, the leftmost dot in bit 4.
struct Glyph {
  char letter;
  std::array<uint8_t, 7> rows;
};
constexpr std::array<Glyph, 14> kGlyphs = {{
    {'A', {14, 17, 17, 31, 17, 17, 17}},
    {'C', {14, 17, 16, 16, 16, 17, 14}},
    {'D', {30, 17, 17, 17, 17, 17, 30}},
    {'E', {31, 16, 16, 30, 16, 16, 31}},
    {'G', {14, 17, 16, 23, 17, 17, 15}},
    {'H', {17, 17, 17, 31, 17, 17, 17}},
    {'I', {14, 4, 4, 4, 4, 4, 14}},
    {'M', {17, 27, 21, 21, 17, 17, 17}},
    {'N', {17, 25, 21, 19, 17, 17, 17}},
    {'R', {30, 17, 17, 30, 20, 18, 17}},
    {'S', {15, 16, 16, 14, 1, 1, 30}},
    {'T', {31, 4, 4, 4, 4, 4, 4}},
    {'U', {17, 17, 17, 17, 17, 17, 14}},
    {'W', {17, 17, 17, 21, 21, 27, 17}},
}};

void set_pixel(data::Image& image, int x, int y, const Colour& colour) {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
  for (int c = 0; c < 3; ++c) image.at(x, y, c) = colour[static_cast<size_t>(c)];
}

void draw_text(data::Image& image, int x, int y, std::string_view text, const Colour& colour) {
  for (const char letter : text) {
    const auto* const glyph =
        std::ranges::find_if(kGlyphs, [&](const Glyph& g) { return g.letter == letter; });
    if (glyph != kGlyphs.end()) {
      for (int row = 0; row < 7; ++row)
        for (int column = 0; column < 5; ++column)
          if ((glyph->rows[static_cast<size_t>(row)] >> (4 - column)) & 1)
            set_pixel(image, x + column, y + row, colour);
    }
    x += 7;
  }
}

data::Image inverted(const data::Image& mask) {
  data::Image outside = mask;
  for (uint8_t& v : outside.pixels) v = v == 0 ? 1 : 0;
  return outside;
}

void blend(data::Image& image, int x, int y, const Colour& colour, double share) {
  for (int c = 0; c < 3; ++c) {
    uint8_t& v = image.at(x, y, c);
    v = static_cast<uint8_t>(std::lround(v + share * (colour[static_cast<size_t>(c)] - v)));
  }
}

// A mask drawn on another scale: the nearest pixel's value.
data::Image mask_to_size(const data::Image& mask, int width, int height) {
  data::Image result(width, height, 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      result.at(x, y) = mask.at(static_cast<int>((x + 0.5) * mask.width / width),
                                static_cast<int>((y + 0.5) * mask.height / height));
  return result;
}

void draw_mask(data::Image& image, const data::Image& mask, const Colour& colour, double width,
               double tint) {
  check(image.width == mask.width && image.height == mask.height, "overlay: sizes differ, image ",
        image.width, " x ", image.height, " and mask ", mask.width, " x ", mask.height);
  // Distance to the border, which runs half-way between a pixel inside and one outside.
  const std::vector<double> to_inside = data::squared_distances(mask);
  const std::vector<double> to_outside = data::squared_distances(inverted(mask));
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) {
      const size_t i =
          static_cast<size_t>(y) * static_cast<size_t>(mask.width) + static_cast<size_t>(x);
      const bool inside = mask.pixels[i] != 0;
      const double distance = std::sqrt(inside ? to_outside[i] : to_inside[i]) - 0.5;
      const double line = std::clamp(width / 2 + 0.5 - distance, 0.0, 1.0);
      blend(image, x, y, colour, std::max(line, inside ? tint : 0.0));
    }
  }
}

data::Image preview_picture(const PreviewParts& parts) {
  return to_rgb(scaled_to_height(parts.image, kPreviewHeight));
}

}  // namespace

data::Image to_rgb(const data::Image& image) {
  if (image.channels == 3) return image;
  data::Image rgb(image.width, image.height, 3);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      for (int c = 0; c < 3; ++c) rgb.at(x, y, c) = image.at(x, y, std::min(c, image.channels - 1));
  return rgb;
}

data::Image overlay(const data::Image& image, const data::Image& mask, const Colour& colour,
                    double width) {
  data::Image result = to_rgb(image);
  draw_mask(result, mask, colour, width, 0.18);
  return result;
}

data::Image scaled_to_height(const data::Image& image, int height) {
  const int width =
      std::max(1, static_cast<int>(std::lround(1.0 * image.width * height / image.height)));
  data::Image result(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    const double sy = std::clamp((y + 0.5) * image.height / height - 0.5, 0.0, image.height - 1.0);
    const int y0 = static_cast<int>(sy);
    const int y1 = std::min(y0 + 1, image.height - 1);
    for (int x = 0; x < width; ++x) {
      const double sx = std::clamp((x + 0.5) * image.width / width - 0.5, 0.0, image.width - 1.0);
      const int x0 = static_cast<int>(sx);
      const int x1 = std::min(x0 + 1, image.width - 1);
      for (int c = 0; c < image.channels; ++c) {
        const double top = std::lerp(image.at(x0, y0, c), image.at(x1, y0, c), sx - x0);
        const double bottom = std::lerp(image.at(x0, y1, c), image.at(x1, y1, c), sx - x0);
        result.at(x, y, c) = static_cast<uint8_t>(std::lround(std::lerp(top, bottom, sy - y0)));
      }
    }
  }
  return result;
}

data::Image side_by_side(const std::vector<Panel>& panels) {
  int width = kGap;
  int height = 0;
  for (const Panel& panel : panels) {
    width += panel.image.width + kGap;
    height = std::max(height, panel.image.height);
  }
  data::Image sheet(width, height + kTitleHeight + kGap, 3);
  for (int y = 0; y < sheet.height; ++y)
    for (int x = 0; x < sheet.width; ++x) set_pixel(sheet, x, y, kGround);
  int left = kGap;
  for (const Panel& panel : panels) {
    const data::Image rgb = to_rgb(panel.image);
    draw_text(sheet, left + 1, 6, panel.title, kTitle);
    for (int y = 0; y < rgb.height; ++y)
      for (int x = 0; x < rgb.width; ++x)
        for (int c = 0; c < 3; ++c) sheet.at(left + x, kTitleHeight + y, c) = rgb.at(x, y, c);
    left += rgb.width + kGap;
  }
  return sheet;
}

std::vector<Panel> preview_panels(const PreviewParts& parts) {
  const data::Image picture = preview_picture(parts);
  const auto fitted = [&](const data::Image& mask) {
    return mask_to_size(mask, picture.width, picture.height);
  };
  std::vector<Panel> panels = {{"IMAGE", picture}};
  if (parts.truth.width > 0)
    panels.push_back({"TRUTH", overlay(picture, fitted(parts.truth), kTruthColour)});
  const auto answer = [&](const char* title, const data::Image& mask, const Colour& colour) {
    if (mask.width == 0) return;
    Panel panel{title, overlay(picture, fitted(mask), colour)};
    if (parts.truth.width > 0) draw_mask(panel.image, fitted(parts.truth), kTruthColour, 0.7, 0);
    panels.push_back(std::move(panel));
  };
  answer("TEACHER", parts.teacher, kTeacherColour);
  answer("STUDENT", parts.student, kStudentColour);
  return panels;
}

data::Image draw_preview(const PreviewParts& parts) {
  return side_by_side(preview_panels(parts));
}

Panel error_panel(const PreviewParts& parts) {
  Panel panel{"ERRORS", preview_picture(parts)};
  data::Image& picture = panel.image;
  const data::Image truth = mask_to_size(parts.truth, picture.width, picture.height);
  const data::Image answer = mask_to_size(parts.student, picture.width, picture.height);
  constexpr Colour kBlack = {0, 0, 0};
  constexpr Colour kWhite = {255, 255, 255};
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const bool lesion = truth.at(x, y) != 0;
      const bool found = answer.at(x, y) != 0;
      blend(picture, x, y, kBlack, 0.45);
      if (lesion && found) blend(picture, x, y, kWhite, 0.35);
      if (lesion && !found) blend(picture, x, y, kMissedColour, 0.75);
      if (!lesion && found) blend(picture, x, y, kInventedColour, 0.75);
    }
  }
  return panel;
}

}  // namespace decant::apps
