#include <numeric>

#include "data/augment/border.h"
#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// y = (x - mean max_pixel_value) / (std max_pixel_value), ImageNet's mean and std by default.
/// Differs: an image of one channel takes the average of mean and of std, so that one pipeline
/// serves networks of one and of three input channels.
/// Source: Albumentations 1.3.1 and 2.0.8, Normalize.
class Normalize : public Transform {
 public:
  explicit Normalize(Arguments& arguments)
      : mean_(arguments.numbers("mean", {0.485, 0.456, 0.406})),
        std_(arguments.numbers("std", {0.229, 0.224, 0.225})),
        max_(arguments.number("max_pixel_value", 255)) {
    for (const double s : std_) check(s > 0, "Normalize: expected std above 0, got ", s);
    if (arguments.is_v2()) arguments.only("normalization", "standard");
    arguments.mean_the_same();
    check(max_ > 0, "Normalize: expected max_pixel_value above 0, got ", max_);
  }

  Role role() const override { return Role::normalize; }

  void apply(Frame& frame, const RngKey&) const override {
    const std::vector<Scale> scales = scales_of(frame);
    for (int c = 0; c < frame.channels; ++c) {
      const auto [shift, factor] = scales[static_cast<size_t>(c)];
      for (auto i = static_cast<size_t>(c); i < frame.image.size();
           i += static_cast<size_t>(frame.channels))
        frame.image[i] = (frame.image[i] - shift) * factor;
    }
  }

  DeviceStep device_step() const override { return DeviceStep::normalize; }
  void plan(PlannedFrame& frame, const RngKey&) const override {
    const std::vector<Scale> scales = scales_of(frame);
    for (size_t c = 0; c < scales.size(); ++c) {
      frame.plan.shift.at(c) = scales[c].shift;
      frame.plan.factor.at(c) = scales[c].factor;
    }
  }

 private:
  struct Scale {
    float shift, factor;
  };

  std::vector<Scale> scales_of(const FrameShape& frame) const {
    const std::vector<double> mean = per_channel(mean_, frame);
    const std::vector<double> std = per_channel(std_, frame);
    std::vector<Scale> scales;
    for (int c = 0; c < frame.channels; ++c)
      scales.push_back({channel_value(mean, c) * static_cast<float>(max_),
                        1 / (channel_value(std, c) * static_cast<float>(max_))});
    return scales;
  }

  static std::vector<double> per_channel(const std::vector<double>& values,
                                         const FrameShape& frame) {
    if (frame.channels == 1)
      return {std::accumulate(values.begin(), values.end(), 0.0) /
              static_cast<double>(values.size())};
    check_channel_values(values, frame, "Normalize");
    return values;
  }

  std::vector<double> mean_;
  std::vector<double> std_;
  double max_;
};

const RegisterTransform<Normalize> kRegistered("Normalize", 1);

}  // namespace
}  // namespace decant::data
