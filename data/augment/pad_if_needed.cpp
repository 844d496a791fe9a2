#include <algorithm>

#include "data/augment/border.h"
#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Pads to at least min_height x min_width, or to multiples of pad_height_divisor and
/// pad_width_divisor; exactly one of the two per axis (a divisor needs its minimum set to null).
/// position center: floor(total / 2) before, the rest after; top_left, top_right, bottom_left,
/// bottom_right: where the image then lies.
/// Source: Albumentations 1.3.1 and 2.0.8, PadIfNeeded.
class PadIfNeeded : public Transform {
 public:
  explicit PadIfNeeded(Arguments& arguments)
      : rows_(read_axis(arguments, "min_height", "pad_height_divisor")),
        columns_(read_axis(arguments, "min_width", "pad_width_divisor")),
        position_(arguments.word("position", "center")),
        outside_(read_outside(arguments)) {
    if (arguments.is_v2()) arguments.ignore("padding");  // of its base class, and always 0
    check(position_ == "center" || position_ == "top_left" || position_ == "top_right" ||
              position_ == "bottom_left" || position_ == "bottom_right",
          "PadIfNeeded: expected a position of center, top_left, top_right, bottom_left or "
          "bottom_right, got '",
          position_, "'");
  }

  Role role() const override { return Role::framing; }

  ImageSize frame_size(ImageSize source) const override {
    return {columns_.padded(source.width), rows_.padded(source.height)};
  }

  void apply(Frame& frame, const RngKey&) const override {
    check_channel_values(outside_.fill, frame, "PadIfNeeded");
    const auto [width, height] = frame_size({frame.width, frame.height});
    const int top = before(height - frame.height, position_.starts_with("top"));
    const int left = before(width - frame.width, position_.ends_with("left"));
    frame.image = pad(frame.image, frame, frame.channels, width, height, left, top,
                      [this](int c) { return channel_value(outside_.fill, c); });
    if (!frame.mask.empty())
      frame.mask = pad(frame.mask, frame, 1, width, height, left, top,
                       [this](int) { return static_cast<uint8_t>(outside_.fill_mask); });
    frame.width = width;
    frame.height = height;
    frame.geometry = Affine::translation(left, top) * frame.geometry;
  }

 private:
  struct Axis {
    int minimum = 0;
    int divisor = 1;
    int padded(int size) const {
      return std::max(minimum, (size + divisor - 1) / divisor * divisor);
    }
  };

  static Axis read_axis(Arguments& arguments, const char* minimum, const char* divisor) {
    const auto low = arguments.optional_number(minimum, 1024);
    const auto step = arguments.optional_number(divisor, {});
    check(low.has_value() != step.has_value(), "PadIfNeeded: expected exactly one of '", minimum,
          "' and '", divisor, "' (the other null)");
    const double value = low ? *low : *step;
    check(value >= 1 && value <= 32768, "PadIfNeeded: expected 1 .. 32768 for '",
          low ? minimum : divisor, "', got ", value);
    const int whole = static_cast<int>(value);
    return low ? Axis{whole, 1} : Axis{0, whole};
  }

  int before(int total, bool at_start) const {
    return position_ == "center" ? total / 2 : at_start ? 0 : total;
  }

  template <class T, class Value>
  std::vector<T> pad(const std::vector<T>& in, const Frame& frame, int channels, int width,
                     int height, int left, int top, Value&& value) const {
    std::vector<T> out;
    out.reserve(static_cast<size_t>(width * channels) * static_cast<size_t>(height));
    for (int y = 0; y < height; ++y) {
      const int64_t from_y = border_index(y - top, frame.height, outside_.border);
      for (int x = 0; x < width; ++x) {
        const int64_t from_x = border_index(x - left, frame.width, outside_.border);
        for (int c = 0; c < channels; ++c)
          out.push_back(
              from_x < 0 || from_y < 0
                  ? value(c)
                  : in[static_cast<size_t>((from_y * frame.width + from_x) * channels + c)]);
      }
    }
    return out;
  }

  Axis rows_;
  Axis columns_;
  std::string position_;
  Outside outside_;
};

const RegisterTransform<PadIfNeeded> kRegistered("PadIfNeeded", 1);

}  // namespace
}  // namespace decant::data
