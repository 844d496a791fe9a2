#include "data/augment/coarse_dropout.h"

#include <algorithm>
#include <cmath>

#include "data/augment/border.h"

namespace decant::data {
namespace {

using Range = Arguments::Range;

/// A side of a hole: pixels, both ends included, or a share of the image's side.
struct Extent {
  Range range;
  bool is_share;

  int draw(const Rng& rng, uint64_t i, int side) const {
    if (is_share) return static_cast<int>(rng.uniform(i, range.low, range.high) * side);
    const double high = std::min(range.high, static_cast<double>(side));
    check(range.low <= high, "CoarseDropout: expected holes no larger than the image, got one of ",
          range.low, " pixels for a side of ", side);
    const auto sizes = static_cast<uint64_t>(high - range.low) + 1;
    return static_cast<int>(range.low) + static_cast<int>(rng.below(i, sizes));
  }
};

/// Sets rectangles to a value, fill_value or fill; the mask too where it has one of its own.
///   v1: min_holes .. max_holes of min_height .. max_height by min_width .. max_width; a minimum
///       that is null is the maximum; all whole numbers of pixels, or all shares below 1
///   v2: num_holes_range, hole_height_range, hole_width_range; shares where the greatest is below 1
/// A hole lies anywhere within the image.
/// Source: Albumentations 1.3.1 and 2.0.8, CoarseDropout.  Differs: fill is numbers.
class CoarseDropout : public Transform {
 public:
  explicit CoarseDropout(Arguments& arguments) {
    const bool v2 = arguments.is_v2();
    if (v2) {
      count_ = arguments.whole_range("num_holes_range", {1, 2}, 1.0);
      height_ = extent(arguments.range("hole_height_range", {0.1, 0.2}, 0.0));
      width_ = extent(arguments.range("hole_width_range", {0.1, 0.2}, 0.0));
    } else {
      count_ = read_v1(arguments, "min_holes", "max_holes");
      height_ = extent(read_v1(arguments, "min_height", "max_height"));
      width_ = extent(read_v1(arguments, "min_width", "max_width"));
    }
    fill_ = arguments.numbers(v2 ? "fill" : "fill_value", {0});
    const auto mask = arguments.optional_number(v2 ? "fill_mask" : "mask_fill_value", {});
    if (mask) fill_mask_ = *mask != 0;
    constexpr double kMostHoles = 32768;
    check(count_.low >= 1 && count_.high <= kMostHoles && count_.low == std::floor(count_.low) &&
              count_.high == std::floor(count_.high),
          "CoarseDropout: expected 1 .. ", kMostHoles, " holes, a whole number, got ", count_.low,
          " .. ", count_.high);
    check(height_.is_share == width_.is_share,
          "CoarseDropout: expected height and width both in pixels or both as shares, got one of "
          "each");
  }

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    check_channel_values(fill_, frame, "CoarseDropout");
    const auto counts = static_cast<uint64_t>(count_.high - count_.low) + 1;
    const uint64_t count = static_cast<uint64_t>(count_.low) + Rng(key).below(1, counts);
    std::vector<Hole> holes;
    for (uint64_t i = 0; i < count; ++i)
      holes.push_back(draw(frame, Rng(key.part("hole " + std::to_string(i)))));
    fill_holes(frame, holes, fill_, fill_mask_);
  }

 private:
  static Range read_v1(Arguments& arguments, const char* minimum, const char* maximum) {
    const double high = arguments.number(maximum, 8);
    const double low = arguments.optional_number(minimum, {}).value_or(high);
    check(0 < low && low <= high, "CoarseDropout: expected 0 < ", minimum, " <= ", maximum,
          ", got ", low, " and ", high);
    return {low, high};
  }

  static Extent extent(const Range& range) {
    const bool is_share = range.high < 1;
    check(range.low >= 0 && (is_share || (range.low == std::floor(range.low) &&
                                          range.high == std::floor(range.high))),
          "CoarseDropout: expected sides in whole pixels, or as shares below 1, got ", range.low,
          " .. ", range.high);
    return {range, is_share};
  }

  Hole draw(const FrameShape& frame, const Rng& rng) const {
    const int height = height_.draw(rng, 0, frame.height);
    const int width = width_.draw(rng, 1, frame.width);
    const auto y = static_cast<int>(rng.below(2, static_cast<uint64_t>(frame.height - height) + 1));
    const auto x = static_cast<int>(rng.below(3, static_cast<uint64_t>(frame.width - width) + 1));
    return {x, y, x + width, y + height};
  }

  Range count_ = {};
  Extent height_ = {}, width_ = {};
  std::vector<double> fill_;
  std::optional<bool> fill_mask_;
};

const RegisterTransform<CoarseDropout> kRegistered("CoarseDropout", 0.5);

}  // namespace

void fill_holes(Frame& frame, std::span<const Hole> holes, const std::vector<double>& fill,
                std::optional<bool> fill_mask) {
  for (const Hole& hole : holes)
    for (int64_t y = hole.y1; y < hole.y2; ++y)
      for (int64_t x = hole.x1; x < hole.x2; ++x) {
        const auto pixel = static_cast<size_t>(y * frame.width + x);
        for (int c = 0; c < frame.channels; ++c)
          frame.image[pixel * static_cast<size_t>(frame.channels) + static_cast<size_t>(c)] =
              channel_value(fill, c);
        if (fill_mask && !frame.mask.empty()) frame.mask[pixel] = *fill_mask ? 1 : 0;
      }
}

}  // namespace decant::data
