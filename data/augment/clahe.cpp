#include <algorithm>
#include <array>
#include <cmath>

#include "data/augment/border.h"
#include "data/augment/lab.h"

namespace decant::data {
namespace {

constexpr int kLevels = 256;

/// A picture of whole grey levels.
struct Levels {
  int width, height;
  std::vector<uint8_t> values;
};

uint8_t level(float v) {
  return static_cast<uint8_t>(std::clamp(std::lrint(v), 0L, 255L));
}

/// A grid of tiles that covers a picture, which is mirrored beyond its right and lower edge where
/// they do not divide it, by a whole tile even along an axis that they do.
struct Grid {
  int columns, rows;
  int tile_width, tile_height;

  static Grid over(const Levels& picture, int columns, int rows) {
    int width = picture.width;
    int height = picture.height;
    if (width % columns != 0 || height % rows != 0) {
      width += columns - width % columns;
      height += rows - height % rows;
    }
    return {columns, rows, width / columns, height / rows};
  }
};

using Table = std::array<uint8_t, kLevels>;

/// What the levels of one tile become: its cumulative histogram, no bin of which counts more than
/// clip_limit times the mean; what is cut off is spread over all bins.
Table equalized(const Levels& picture, const Grid& grid, int column, int row, double clip_limit) {
  std::array<int, kLevels> histogram{};
  for (int y = row * grid.tile_height; y < (row + 1) * grid.tile_height; ++y) {
    const int64_t from = border_index(y, picture.height, Border::reflect_101) * picture.width;
    for (int x = column * grid.tile_width; x < (column + 1) * grid.tile_width; ++x)
      ++histogram[picture.values[static_cast<size_t>(
          from + border_index(x, picture.width, Border::reflect_101))]];
  }
  const int area = grid.tile_width * grid.tile_height;
  const int limit = std::max(1, static_cast<int>(clip_limit * area / kLevels));
  int cut = 0;
  for (int& count : histogram) {
    cut += std::max(0, count - limit);
    count = std::min(count, limit);
  }
  for (int& count : histogram) count += cut / kLevels;
  if (int rest = cut % kLevels; rest > 0) {
    const int step = std::max(1, kLevels / rest);
    for (int i = 0; i < kLevels && rest > 0; i += step, --rest) ++histogram[static_cast<size_t>(i)];
  }
  Table table{};
  int sum = 0;
  for (size_t i = 0; i < kLevels; ++i) {
    sum += histogram[i];
    table[i] = level(static_cast<float>(sum) * (kLevels - 1) / static_cast<float>(area));
  }
  return table;
}

/// Between which tiles' centres pixel i lies, and how far along.
struct Between {
  int low, high;
  float weight;

  Between(int i, int tile, int count) {
    const float at = static_cast<float>(i) / static_cast<float>(tile) - 0.5F;
    const auto below = static_cast<int>(std::floor(at));
    weight = at - static_cast<float>(below);
    low = std::max(below, 0);
    high = std::min(below + 1, count - 1);
  }
};

/// Every level by the tables of the four tiles about it, bilinearly.
void equalize(Levels& picture, double clip_limit, int columns, int rows) {
  const Grid grid = Grid::over(picture, columns, rows);
  std::vector<Table> tables;
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column)
      tables.push_back(equalized(picture, grid, column, row, clip_limit));
  size_t pixel = 0;
  for (int y = 0; y < picture.height; ++y) {
    const Between v(y, grid.tile_height, rows);
    for (int x = 0; x < picture.width; ++x, ++pixel) {
      const Between h(x, grid.tile_width, columns);
      const uint8_t old = picture.values[pixel];
      const auto at = [&](int column, int row) {
        return static_cast<float>(tables[static_cast<size_t>(row * columns + column)][old]);
      };
      const float upper = at(h.low, v.low) * (1 - h.weight) + at(h.high, v.low) * h.weight;
      const float lower = at(h.low, v.high) * (1 - h.weight) + at(h.high, v.high) * h.weight;
      picture.values[pixel] = level(upper * (1 - v.weight) + lower * v.weight);
    }
  }
}

/// Equalizes histograms tile by tile, with a limit to how steep they may become: clip_limit, a
/// number v for 1 .. v, in tile_grid_size = [columns, rows] tiles. Three channels: the lightness of
/// L*a*b* alone. Works on whole grey levels.
/// Source: Zuiderveld 1994, "Contrast limited adaptive histogram equalization", in OpenCV's form;
/// Albumentations 1.3.1 and 2.0.8, CLAHE.
class Clahe : public Transform {
 public:
  explicit Clahe(Arguments& arguments)
      : limit_(arguments.range("clip_limit", {1, 4}, 1.0)),
        tiles_(arguments.numbers("tile_grid_size", {8, 8})) {
    check(limit_.low > 0 && limit_.high <= 1e6,
          "CLAHE: expected clip_limit above 0 and up to 1e6, got ", limit_.low, " .. ",
          limit_.high);
    const bool good = tiles_.size() == 2 && std::ranges::all_of(tiles_, [](double n) {
                        return n == std::floor(n) && n >= 1 && n <= 1024;
                      });
    check(good, "CLAHE: expected two whole numbers of 1 .. 1024 for 'tile_grid_size'");
  }

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    check(frame.channels == 1 || frame.channels == 3, "CLAHE: expected 1 or 3 channels, got ",
          frame.channels);
    const double limit = Rng(key).uniform(1, limit_.low, limit_.high);
    const auto pixels = static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height);
    Levels light{frame.width, frame.height, std::vector<uint8_t>(pixels)};
    std::vector<std::array<uint8_t, 3>> lab(frame.channels == 3 ? pixels : 0);
    for (size_t i = 0; i < pixels; ++i) {
      if (lab.empty()) {
        light.values[i] = level(frame.image[i]);
        continue;
      }
      const float* rgb = &frame.image[3 * i];
      lab[i] = lab_of({level(rgb[0]), level(rgb[1]), level(rgb[2])});
      light.values[i] = lab[i][0];
    }
    equalize(light, limit, static_cast<int>(tiles_[0]), static_cast<int>(tiles_[1]));
    if (lab.empty()) std::ranges::copy(light.values, frame.image.begin());
    for (size_t i = 0; i < lab.size(); ++i)
      std::ranges::copy(rgb_of({light.values[i], lab[i][1], lab[i][2]}),
                        frame.image.begin() + static_cast<int64_t>(3 * i));
  }

 private:
  Arguments::Range limit_;
  std::vector<double> tiles_;
};

const RegisterTransform<Clahe> kRegistered("CLAHE", 0.5);

}  // namespace
}  // namespace decant::data
