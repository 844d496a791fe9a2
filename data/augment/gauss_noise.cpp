#include <algorithm>
#include <cmath>

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Adds normal noise: variance ~ U(var_limit) in squared units of 0 .. 255, one draw per image;
/// clipped to 0 .. 255. per_channel: every channel its own noise, otherwise all the same.
/// Source: Albumentations 1.3.1, GaussNoise (2.x means a share of the range by the same name).
class GaussNoise : public Transform {
 public:
  explicit GaussNoise(Arguments& arguments)
      : variance_(arguments.range("var_limit", {10, 50}, /*from_zero=*/true)),
        mean_(arguments.number("mean", 0)),
        per_channel_(arguments.flag("per_channel", true)) {
    check(variance_.low >= 0, "GaussNoise: expected var_limit of at least 0, got ", variance_.low);
  }

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    const NoisePlan noise = draw(key);
    const Rng rng(noise.key);
    const auto c = static_cast<size_t>(frame.channels);
    for (size_t i = 0; i < frame.image.size(); ++i) {
      const double n = noise.mean + noise.sigma * rng.normal(noise.per_channel ? i : i / c);
      frame.image[i] = std::clamp(frame.image[i] + static_cast<float>(n), 0.0F, 255.0F);
    }
  }

  DeviceStep device_step() const override { return DeviceStep::noise; }
  void plan(PlannedFrame& frame, const RngKey& key) const override { frame.plan.noise = draw(key); }

 private:
  NoisePlan draw(const RngKey& key) const {
    return {.key = key.part("noise"),
            .mean = mean_,
            .sigma = std::sqrt(Rng(key).uniform(1, variance_.low, variance_.high)),
            .per_channel = per_channel_};
  }

  Arguments::Range variance_;
  double mean_;
  bool per_channel_;
};

const RegisterTransform<GaussNoise> kRegistered("GaussNoise", 0.5);

}  // namespace
}  // namespace decant::data
