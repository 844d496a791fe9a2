#include <algorithm>
#include <cmath>

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Resizes to height x width; the mask by nearest neighbour.
///   interpolation 1 (linear, the default): source position (i + 0.5) n_in / n_out - 0.5, clamped,
///   without antialiasing; 0 (nearest): floor(i n_in / n_out), as always for the mask
/// Source: Albumentations 1.3.1 and 2.0.8, Resize; positions as in OpenCV's resize.  Differs: float
/// weights instead of 11-bit ones.
class Resize : public Transform {
 public:
  explicit Resize(Arguments& arguments)
      : height_(arguments.integer("height")),
        width_(arguments.integer("width")),
        linear_(arguments.integer("interpolation", 1) == 1) {
    check(height_ > 0 && width_ > 0, "Resize: expected a size above 0, got ", width_, " x ",
          height_);
    const int mode = arguments.resolved()["interpolation"].get<int>();
    check(mode <= 1, "Resize: expected an interpolation of 0 (nearest) or 1 (linear), got ", mode);
    arguments.mean_the_same();
    if (!arguments.is_v2()) return;
    arguments.only("mask_interpolation", 0);
    arguments.only("area_for_downscale", nullptr);
  }

  Role role() const override { return Role::framing; }

  ImageSize frame_size(ImageSize) const override { return {width_, height_}; }

  void apply(Frame& frame, const RngKey&) const override {
    if (frame.width == width_ && frame.height == height_) return;
    frame.image =
        linear_ ? resize_linear(frame) : resize_nearest(frame.image, frame, frame.channels);
    if (!frame.mask.empty()) frame.mask = resize_nearest(frame.mask, frame, 1);
    scale(frame);
  }

  DeviceStep device_step() const override { return DeviceStep::resize; }
  void plan(PlannedFrame& frame, const RngKey&) const override {
    if (frame.width == width_ && frame.height == height_) return;
    frame.plan.rows = device_taps(frame.height, height_);
    frame.plan.columns = device_taps(frame.width, width_);
    scale(frame);
  }

 private:
  void scale(FrameShape& frame) const {
    const double sx = static_cast<double>(width_) / frame.width;
    const double sy = static_cast<double>(height_) / frame.height;
    frame.width = width_;
    frame.height = height_;
    frame.geometry = Affine{{sx, 0, 0.5 * sx - 0.5, 0, sy, 0.5 * sy - 0.5}} * frame.geometry;
  }

  // Result i lies between source elements `low` and `high`, by `weight` towards the latter.
  struct Tap {
    int64_t low, high;
    float weight;
  };

  static std::vector<Tap> linear_taps(int in, int out) {
    std::vector<Tap> taps;
    for (int i = 0; i < out; ++i) {
      const double at = std::clamp((i + 0.5) * in / out - 0.5, 0.0, in - 1.0);
      const auto low = static_cast<int64_t>(at);
      taps.push_back({low, std::min<int64_t>(low + 1, in - 1),
                      static_cast<float>(at - static_cast<double>(low))});
    }
    return taps;
  }

  std::vector<float> resize_linear(const Frame& frame) const {
    const std::vector<Tap> columns = linear_taps(frame.width, width_);
    const int c = frame.channels;
    std::vector<float> out;
    out.reserve(static_cast<size_t>(height_) * static_cast<size_t>(width_ * c));
    for (const Tap& row : linear_taps(frame.height, height_)) {
      const float* top = &frame.image[static_cast<size_t>(row.low * frame.width * c)];
      const float* bottom = &frame.image[static_cast<size_t>(row.high * frame.width * c)];
      for (const Tap& column : columns) {
        for (int k = 0; k < c; ++k) {
          const int64_t a = column.low * c + k;
          const int64_t b = column.high * c + k;
          const float upper = top[a] + column.weight * (top[b] - top[a]);
          const float lower = bottom[a] + column.weight * (bottom[b] - bottom[a]);
          out.push_back(upper + row.weight * (lower - upper));
        }
      }
    }
    return out;
  }

  static std::vector<int64_t> nearest_taps(int in, int out) {
    const double step = 1 / (static_cast<double>(out) / in);  // in OpenCV's order of rounding
    std::vector<int64_t> taps;
    taps.reserve(static_cast<size_t>(out));
    for (int i = 0; i < out; ++i)
      taps.push_back(std::min(static_cast<int64_t>(std::floor(i * step)), int64_t{in} - 1));
    return taps;
  }

  std::vector<FrameTap> device_taps(int in, int out) const {
    const std::vector<Tap> linear = linear_taps(in, out);
    const std::vector<int64_t> nearest = nearest_taps(in, out);
    std::vector<FrameTap> taps;
    taps.reserve(linear.size());
    for (size_t i = 0; i < linear.size(); ++i) {
      const auto near = static_cast<int32_t>(nearest[i]);
      taps.push_back(linear_
                         ? FrameTap{static_cast<int32_t>(linear[i].low),
                                    static_cast<int32_t>(linear[i].high), near, linear[i].weight}
                         : FrameTap{near, near, near, 0});
    }
    return taps;
  }

  template <class T>
  std::vector<T> resize_nearest(const std::vector<T>& in, const Frame& frame, int c) const {
    const std::vector<int64_t> columns = nearest_taps(frame.width, width_);
    std::vector<T> out;
    out.reserve(static_cast<size_t>(height_) * static_cast<size_t>(width_ * c));
    for (const int64_t y : nearest_taps(frame.height, height_))
      for (const int64_t x : columns)
        for (int k = 0; k < c; ++k)
          out.push_back(in[static_cast<size_t>((y * frame.width + x) * c + k)]);
    return out;
  }

  int height_;
  int width_;
  bool linear_;
};

const RegisterTransform<Resize> kRegistered("Resize", 1);

}  // namespace
}  // namespace decant::data
