#include <algorithm>
#include <cmath>

#include "data/augment/affine_draw.h"
#include "data/augment/sampling.h"

namespace decant::data {
namespace {

using Axes = Arguments::Axes;
using Range = Arguments::Range;

/// Scales, shears and rotates about the centre, then shifts (AffineDraw).
///   scale, shear (degrees), translate_percent (of the side) or translate_px: a number, a pair or
///   one of both per axis; rotate: a number or a pair, degrees counter-clockwise
/// keep_ratio: the scale of x for both. Version 1 without any of these means scale 0.9 .. 1.1,
/// translate_percent -0.1 .. 0.1, rotate -15 .. 15, shear -10 .. 10. Version 2 shifts by whole
/// pixels, rounded towards zero; its balanced_scale draws shrinking and growing alike.
/// Source: Albumentations 1.3.1 and 2.0.8, Affine.  Differs: see resample(); the frame keeps its
/// size (fit_output false).
class AffineTransform : public Transform {
 public:
  explicit AffineTransform(Arguments& arguments)
      : version_(arguments.is_v2() ? Version::v2 : Version::v1) {
    const Range none = {0, 0};
    const auto scale = arguments.axes("scale");
    const auto percent = arguments.axes("translate_percent");
    const auto pixels = arguments.axes("translate_px");
    const auto rotate = arguments.span("rotate");
    const auto shear = arguments.axes("shear");
    check(!percent || !pixels, "Affine: expected translate_percent or translate_px, got both");
    by_pixels_ = pixels.has_value();
    shift_ = pixels ? *pixels : percent.value_or(Axes{none, none});
    scale_ = scale.value_or(Axes{{1, 1}, {1, 1}});
    rotate_ = rotate.value_or(none);
    shear_ = shear.value_or(Axes{none, none});
    if (version_ == Version::v1 && !scale && !percent && !pixels && !rotate && !shear) {
      scale_ = {{0.9, 1.1}, {0.9, 1.1}};
      shift_ = {{-0.1, 0.1}, {-0.1, 0.1}};
      rotate_ = {-15, 15};
      shear_ = {{-10, 10}, {-10, 10}};
    }
    keep_ratio_ = arguments.flag("keep_ratio", false);
    balanced_ = version_ == Version::v2 && arguments.flag("balanced_scale", false);
    check(!keep_ratio_ || scale_.x == scale_.y,
          "Affine: expected one scale for both axes with keep_ratio, got two");
    for (const Range& range : {scale_.x, scale_.y})
      check(range.low > 0, "Affine: expected a scale above 0, got ", range.low);
    sampling_ = read_sampling(
        arguments,
        {.border = "mode", .fill = "cval", .fill_mask = "cval_mask", .usual = Border::constant},
        /*names_mask_interpolation=*/true);
    arguments.only("fit_output", false);
    arguments.ignore("rotate_method");
  }

  void apply(Frame& frame, const RngKey& key) const override {
    check_channel_values(sampling_.outside.fill, frame, "Affine");
    const Affine forward = draw(frame, Rng(key)).on(frame, version_);
    const Affine to_source = forward.inverse();
    resample(frame, sampling_, to_source);
    frame.geometry = forward * frame.geometry;
  }

 private:
  AffineDraw draw(const FrameShape& frame, const Rng& rng) const {
    const auto uniform = [&](uint64_t i, const Range& range) {
      return rng.uniform(i, range.low, range.high);
    };
    AffineDraw drawn;
    drawn.dx = shift(rng, 1, shift_.x, frame.width);
    drawn.dy = shift(rng, 2, shift_.y, frame.height);
    drawn.shear_x = uniform(3, shear_.x);
    drawn.shear_y = uniform(4, shear_.y);
    drawn.scale_x = scale(rng, 5, scale_.x);
    drawn.scale_y = keep_ratio_ ? drawn.scale_x : scale(rng, 6, scale_.y);
    drawn.angle = uniform(7, rotate_);
    return drawn;
  }

  double shift(const Rng& rng, uint64_t i, const Range& range, int side) const {
    if (by_pixels_) {
      const double low = std::trunc(range.low);
      const double high = std::trunc(range.high);
      return low + static_cast<double>(rng.below(i, static_cast<uint64_t>(high - low) + 1));
    }
    const double pixels = rng.uniform(i, range.low, range.high) * side;
    return version_ == Version::v2 ? std::trunc(pixels) : pixels;
  }

  double scale(const Rng& rng, uint64_t i, Range range) const {
    if (balanced_) {
      const bool shrinks = range.low < 1;
      const bool grows = range.high > 1;
      if (!shrinks && !grows) return 1;
      const bool down = shrinks && (!grows || rng.uniform(10 + i) < 0.5);
      range = down ? Range{range.low, 1} : Range{1, range.high};
    }
    return rng.uniform(i, range.low, range.high);
  }

  Version version_;
  Axes scale_ = {}, shift_ = {}, shear_ = {};
  Range rotate_ = {};
  bool by_pixels_ = false;
  bool keep_ratio_ = false;
  bool balanced_ = false;
  Sampling sampling_;
};

const RegisterTransform<AffineTransform> kRegistered("Affine", 0.5);

}  // namespace
}  // namespace decant::data
