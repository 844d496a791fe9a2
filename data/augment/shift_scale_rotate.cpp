#include <cmath>

#include "data/augment/border.h"
#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Rotates and scales about the centre (W / 2 - 0.5, H / 2 - 0.5), then shifts.
///   angle ~ U(rotate_limit) degrees, counter-clockwise; scale ~ 1 + U(scale_limit);
///   dx ~ U(shift_limit_x) W, dy ~ U(shift_limit_y) H; drawn in this order
/// Image bilinear (interpolation 1) or nearest (0), mask nearest; both with border_mode.
/// shift_limit sets both shifts; shift_limit_x and shift_limit_y override it.
/// Source: Albumentations 1.3.1, ShiftScaleRotate.  Differs: exact bilinear weights where OpenCV
/// rounds positions to 1/32 pixel; rotate_method concerns boxes only and is ignored.
class ShiftScaleRotate : public Transform {
 public:
  explicit ShiftScaleRotate(Arguments& arguments)
      : shift_(arguments.range("shift_limit", {-0.0625, 0.0625})),
        scale_(arguments.range("scale_limit", {-0.1, 0.1})),
        rotate_(arguments.range("rotate_limit", {-45, 45})),
        shift_x_(arguments.range("shift_limit_x", shift_)),
        shift_y_(arguments.range("shift_limit_y", shift_)),
        border_(read_border(arguments)),
        value_(arguments.numbers("value", {0})),
        mask_value_(arguments.optional_number("mask_value", {}).value_or(0) != 0) {
    const int interpolation = arguments.integer("interpolation", 1);
    check(interpolation <= 1,
          "ShiftScaleRotate: expected an interpolation of 0 (nearest) or 1 (linear), got ",
          interpolation);
    linear_ = interpolation == 1;
    arguments.ignore("rotate_method");
    check(scale_.low > -1, "ShiftScaleRotate: expected scale_limit above -1, got ", scale_.low);
  }

  void apply(Frame& frame, const RngKey& key) const override {
    check_channel_values(value_, frame, "ShiftScaleRotate");
    const Affine forward = draw(frame, key);
    warp(frame, forward.inverse());
    frame.geometry = forward * frame.geometry;
  }

  DeviceStep device_step() const override {
    return linear_ && border_ == Border::reflect_101 ? DeviceStep::move : DeviceStep::none;
  }
  void plan(PlannedFrame& frame, const RngKey& key) const override {
    check_channel_values(value_, frame, "ShiftScaleRotate");
    const Affine forward = draw(frame, key);
    frame.plan.moves = forward;
    frame.geometry = forward * frame.geometry;
  }

 private:
  Affine draw(const FrameShape& frame, const RngKey& key) const {
    const Rng rng(key);
    const double angle = rng.uniform(1, rotate_.low, rotate_.high);
    const double scale = 1 + rng.uniform(2, scale_.low, scale_.high);
    const double dx = rng.uniform(3, shift_x_.low, shift_x_.high) * frame.width;
    const double dy = rng.uniform(4, shift_y_.low, shift_y_.high) * frame.height;
    const double cx = frame.width / 2.0 - 0.5;
    const double cy = frame.height / 2.0 - 0.5;
    return Affine::translation(cx + dx, cy + dy) * Affine::scaling(scale, scale) *
           Affine::rotation(angle, 0, 0) * Affine::translation(-cx, -cy);
  }

  void warp(Frame& frame, const Affine& to_source) const {
    const std::vector<float> image = std::move(frame.image);
    const std::vector<uint8_t> mask = std::move(frame.mask);
    frame.image.assign(image.size(), 0);
    frame.mask.assign(mask.size(), 0);
    for (int y = 0; y < frame.height; ++y) {
      for (int x = 0; x < frame.width; ++x) {
        const auto [sx, sy] = to_source(x, y);
        const size_t pixel =
            static_cast<size_t>(y) * static_cast<size_t>(frame.width) + static_cast<size_t>(x);
        float* out = &frame.image[pixel * static_cast<size_t>(frame.channels)];
        const int64_t near = index(frame, static_cast<int64_t>(std::floor(sx + 0.5)),
                                   static_cast<int64_t>(std::floor(sy + 0.5)));
        if (!mask.empty())
          frame.mask[pixel] = near < 0 ? (mask_value_ ? 1 : 0) : mask[static_cast<size_t>(near)];
        if (linear_) {
          sample_linear(image, frame, sx, sy, out);
        } else {
          for (int c = 0; c < frame.channels; ++c) out[c] = value_at(image, frame, near, c);
        }
      }
    }
  }

  /// Index of a pixel that may lie outside; -1 for the constant.
  int64_t index(const Frame& frame, int64_t x, int64_t y) const {
    const int64_t ix = border_index(x, frame.width, border_);
    const int64_t iy = border_index(y, frame.height, border_);
    return ix < 0 || iy < 0 ? -1 : iy * frame.width + ix;
  }

  float value_at(const std::vector<float>& image, const Frame& frame, int64_t pixel, int c) const {
    return pixel < 0 ? channel_value(value_, c)
                     : image[static_cast<size_t>(pixel * frame.channels + c)];
  }

  void sample_linear(const std::vector<float>& image, const Frame& frame, double sx, double sy,
                     float* out) const {
    const double fx = std::floor(sx);
    const double fy = std::floor(sy);
    const auto wx = static_cast<float>(sx - fx);
    const auto wy = static_cast<float>(sy - fy);
    const auto x = static_cast<int64_t>(fx);
    const auto y = static_cast<int64_t>(fy);
    const int64_t corners[4] = {index(frame, x, y), index(frame, x + 1, y), index(frame, x, y + 1),
                                index(frame, x + 1, y + 1)};
    for (int c = 0; c < frame.channels; ++c) {
      const float a = value_at(image, frame, corners[0], c);
      const float b = value_at(image, frame, corners[2], c);
      const float upper = a + wx * (value_at(image, frame, corners[1], c) - a);
      const float lower = b + wx * (value_at(image, frame, corners[3], c) - b);
      out[c] = upper + wy * (lower - upper);
    }
  }

  Arguments::Range shift_, scale_, rotate_, shift_x_, shift_y_;
  Border border_;
  std::vector<double> value_;
  bool mask_value_;
  bool linear_ = true;
};

const RegisterTransform<ShiftScaleRotate> kRegistered("ShiftScaleRotate", 0.5);

}  // namespace
}  // namespace decant::data
