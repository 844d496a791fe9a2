#include <cmath>

#include "data/augment/affine_draw.h"
#include "data/augment/sampling.h"

namespace decant::data {
namespace {

/// Rotates and scales about the centre, then shifts (AffineDraw).
///   angle ~ U(rotate_limit) degrees, counter-clockwise; scale ~ 1 + U(scale_limit);
///   dx ~ U(shift_limit_x) W, dy ~ U(shift_limit_y) H; drawn in this order
/// Version 2 draws a scale for either axis, and shifts by whole pixels, rounded towards zero.
/// Image bilinear (interpolation 1) or nearest (0), mask nearest; both with border_mode.
/// shift_limit sets both shifts; shift_limit_x and shift_limit_y override it.
/// Source: Albumentations 1.3.1 and 2.0.8, ShiftScaleRotate.  Differs: see resample();
/// rotate_method concerns boxes only and is ignored.
class ShiftScaleRotate : public Transform {
 public:
  explicit ShiftScaleRotate(Arguments& arguments)
      : version_(arguments.is_v2() ? Version::v2 : Version::v1),
        shift_(arguments.range("shift_limit", {-0.0625, 0.0625})),
        scale_(arguments.range("scale_limit", {-0.1, 0.1})),
        rotate_(arguments.range("rotate_limit", {-45, 45})),
        shift_x_(arguments.range("shift_limit_x", shift_)),
        shift_y_(arguments.range("shift_limit_y", shift_)),
        sampling_(read_sampling(arguments)) {
    arguments.ignore("rotate_method");
    check(scale_.low > -1, "ShiftScaleRotate: expected scale_limit above -1, got ", scale_.low);
  }

  void apply(Frame& frame, const RngKey& key) const override {
    const Affine forward = draw(frame, key);
    const Affine to_source = forward.inverse();
    resample(frame, sampling_, to_source);
    frame.geometry = forward * frame.geometry;
  }

  DeviceStep device_step() const override {
    const bool known = sampling_.linear && sampling_.outside.border == Border::reflect_101;
    return known ? DeviceStep::move : DeviceStep::none;
  }
  void plan(PlannedFrame& frame, const RngKey& key) const override {
    const Affine forward = draw(frame, key);
    frame.plan.moves = forward;
    frame.geometry = forward * frame.geometry;
  }

 private:
  Affine draw(const FrameShape& frame, const RngKey& key) const {
    check_channel_values(sampling_.outside.fill, frame, "ShiftScaleRotate");
    const Rng rng(key);
    AffineDraw drawn;
    drawn.angle = rng.uniform(1, rotate_.low, rotate_.high);
    drawn.scale_x = drawn.scale_y = 1 + rng.uniform(2, scale_.low, scale_.high);
    drawn.dx = rng.uniform(3, shift_x_.low, shift_x_.high) * frame.width;
    drawn.dy = rng.uniform(4, shift_y_.low, shift_y_.high) * frame.height;
    if (version_ == Version::v2) {
      drawn.scale_y = 1 + rng.uniform(5, scale_.low, scale_.high);
      drawn.dx = std::trunc(drawn.dx);
      drawn.dy = std::trunc(drawn.dy);
    }
    return drawn.on(frame, version_);
  }

  Version version_;
  Arguments::Range shift_, scale_, rotate_, shift_x_, shift_y_;
  Sampling sampling_;
};

const RegisterTransform<ShiftScaleRotate> kRegistered("ShiftScaleRotate", 0.5);

}  // namespace
}  // namespace decant::data
