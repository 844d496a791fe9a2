#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Cuts height x width at a random place.
///   y0 = floor((H - height + 1) u1), x0 = floor((W - width + 1) u2)
/// Throws Error where the image is smaller.
/// Source: Albumentations 1.3.1 and 2.0.8, RandomCrop.  Differs: no pad_if_needed.
class RandomCrop : public Transform {
 public:
  explicit RandomCrop(Arguments& arguments)
      : height_(arguments.integer("height")), width_(arguments.integer("width")) {
    check(height_ > 0 && width_ > 0, "RandomCrop: expected a size above 0, got ", width_, " x ",
          height_);
    arguments.mean_the_same();
    if (!arguments.is_v2()) return;
    arguments.only("pad_if_needed", false);
    for (const char* of_padding : {"pad_position", "border_mode", "fill", "fill_mask"})
      arguments.ignore(of_padding);
  }

  Role role() const override { return Role::framing; }

  ImageSize frame_size(ImageSize source) const override {
    check(source.height >= height_ && source.width >= width_, "RandomCrop: expected at least ",
          width_, " x ", height_, " pixels, got ", source.width, " x ", source.height,
          "; a Resize before it makes them");
    return {width_, height_};
  }

  void apply(Frame& frame, const RngKey& key) const override {
    const auto [x0, y0] = draw(frame, key);
    frame.image = crop(frame.image, frame, frame.channels, x0, y0);
    if (!frame.mask.empty()) frame.mask = crop(frame.mask, frame, 1, x0, y0);
    cut(frame, x0, y0);
  }

  DeviceStep device_step() const override { return DeviceStep::crop; }
  void plan(PlannedFrame& frame, const RngKey& key) const override {
    const auto [x0, y0] = draw(frame, key);
    const auto keep = [](std::vector<FrameTap>& taps, int begin, int count) {
      taps = {taps.begin() + begin, taps.begin() + begin + count};
    };
    keep(frame.plan.rows, y0, height_);
    keep(frame.plan.columns, x0, width_);
    cut(frame, x0, y0);
  }

 private:
  struct Corner {
    int x0, y0;
  };

  Corner draw(const FrameShape& frame, const RngKey& key) const {
    frame_size({frame.width, frame.height});  // throws where the image is smaller
    const Rng rng(key);
    const auto y0 =
        static_cast<int>(rng.below(1, static_cast<uint64_t>(frame.height - height_) + 1));
    const auto x0 = static_cast<int>(rng.below(2, static_cast<uint64_t>(frame.width - width_) + 1));
    return {x0, y0};
  }

  void cut(FrameShape& frame, int x0, int y0) const {
    frame.width = width_;
    frame.height = height_;
    frame.geometry = Affine::translation(-x0, -y0) * frame.geometry;
  }

  template <class T>
  std::vector<T> crop(const std::vector<T>& in, const Frame& frame, int c, int x0, int y0) const {
    std::vector<T> out;
    out.reserve(static_cast<size_t>(height_) * static_cast<size_t>(width_ * c));
    for (int y = 0; y < height_; ++y) {
      const auto row = in.begin() + (int64_t{y0 + y} * frame.width + x0) * c;
      out.insert(out.end(), row, row + int64_t{width_} * c);
    }
    return out;
  }

  int height_;
  int width_;
};

const RegisterTransform<RandomCrop> kRegistered("RandomCrop", 1);

}  // namespace
}  // namespace decant::data
