#include <algorithm>
#include <cmath>

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Adds normal noise, clipped to 0 .. 255; its strength is drawn once per image.
///   v1: variance ~ U(var_limit) in squared grey levels, mean
///   v2: deviation ~ U(std_range) and mean ~ U(mean_range) as shares of 255: by its defaults some
///       fifteen times stronger
/// per_channel: every channel its own noise, otherwise all the same.
/// Source: Albumentations 1.3.1 and 2.0.8, GaussNoise.  Differs: noise_scale_factor, noise drawn at
/// a smaller size, is 1.
class GaussNoise : public Transform {
 public:
  explicit GaussNoise(Arguments& arguments)
      : v2_(arguments.is_v2()), per_channel_(arguments.flag("per_channel", true)) {
    if (v2_) {
      strength_ = arguments.range("std_range", {0.2, 0.44}, 0.0);
      mean_ = arguments.range("mean_range", {0, 0}, 0.0);
      arguments.only("noise_scale_factor", 1.0);
    } else {
      strength_ = arguments.range("var_limit", {10, 50}, 0.0);
      const double mean = arguments.number("mean", 0);
      mean_ = {mean, mean};
    }
    check(strength_.low >= 0, "GaussNoise: expected ", v2_ ? "std_range" : "var_limit",
          " of at least 0, got ", strength_.low);
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
    const Rng rng(key);
    const double strength = rng.uniform(1, strength_.low, strength_.high);
    const double mean = rng.uniform(2, mean_.low, mean_.high);
    return {.key = key.part("noise"),
            .mean = v2_ ? 255 * mean : mean,
            .sigma = v2_ ? 255 * strength : std::sqrt(strength),
            .per_channel = per_channel_};
  }

  bool v2_;
  Arguments::Range strength_ = {}, mean_ = {};
  bool per_channel_;
};

const RegisterTransform<GaussNoise> kRegistered("GaussNoise", 0.5);

}  // namespace
}  // namespace decant::data
