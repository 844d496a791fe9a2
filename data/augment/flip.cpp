#include <algorithm>

#include "data/augment/transform.h"

namespace decant::data {
namespace {

/// Mirrors left and right.
/// Source: Albumentations 1.3.1 and 2.0.8, HorizontalFlip.
class HorizontalFlip : public Transform {
 public:
  explicit HorizontalFlip(Arguments& arguments) { arguments.mean_the_same(); }

  void apply(Frame& frame, const RngKey&) const override {
    flip(frame.image, frame, frame.channels);
    if (!frame.mask.empty()) flip(frame.mask, frame, 1);
    mirror(frame);
  }

  DeviceStep device_step() const override { return DeviceStep::flip; }
  void plan(PlannedFrame& frame, const RngKey&) const override {
    mirror(frame);
    frame.plan.flips = true;
  }

 private:
  static void mirror(FrameShape& frame) {
    frame.geometry = Affine{{-1, 0, frame.width - 1.0, 0, 1, 0}} * frame.geometry;
  }

  template <class T>
  static void flip(std::vector<T>& values, const Frame& frame, int c) {
    for (int64_t y = 0; y < frame.height; ++y) {
      const auto row = values.begin() + y * frame.width * c;
      for (int64_t x = 0; x < frame.width / 2; ++x)
        std::swap_ranges(row + x * c, row + (x + 1) * c, row + (frame.width - 1 - x) * c);
    }
  }
};

/// Mirrors top and bottom.
/// Source: Albumentations 1.3.1 and 2.0.8, VerticalFlip.
class VerticalFlip : public Transform {
 public:
  explicit VerticalFlip(Arguments& arguments) { arguments.mean_the_same(); }

  void apply(Frame& frame, const RngKey&) const override {
    flip(frame.image, frame, frame.channels);
    if (!frame.mask.empty()) flip(frame.mask, frame, 1);
    frame.geometry = Affine{{1, 0, 0, 0, -1, frame.height - 1.0}} * frame.geometry;
  }

 private:
  template <class T>
  static void flip(std::vector<T>& values, const Frame& frame, int c) {
    const int64_t row = int64_t{frame.width} * c;
    for (int64_t y = 0; y < frame.height / 2; ++y)
      std::swap_ranges(values.begin() + y * row, values.begin() + (y + 1) * row,
                       values.begin() + (frame.height - 1 - y) * row);
  }
};

const RegisterTransform<HorizontalFlip> kHorizontal("HorizontalFlip", 0.5);
const RegisterTransform<VerticalFlip> kVertical("VerticalFlip", 0.5);

}  // namespace
}  // namespace decant::data
