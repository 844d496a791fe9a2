#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Sets each pixel to drop_value with probability dropout_prob; per_channel: each value by itself.
/// drop_value null: a random colour, one per image. mask_drop_value null leaves the mask as it is,
/// otherwise pixels of the mask are set to it: the same ones, in version 2 others.
/// Source: Albumentations 1.3.1 and 2.0.8, PixelDropout.
class PixelDropout : public Transform {
 public:
  explicit PixelDropout(Arguments& arguments)
      : v2_(arguments.is_v2()),
        probability_(arguments.number("dropout_prob", 0.01)),
        per_channel_(arguments.flag("per_channel", false)),
        value_(arguments.optional_number("drop_value", 0)),
        mask_value_(arguments.optional_number("mask_drop_value", {})) {
    check(probability_ >= 0 && probability_ <= 1,
          "PixelDropout: expected dropout_prob in 0 .. 1, got ", probability_);
    check(v2_ || !mask_value_ || !per_channel_,
          "PixelDropout: mask_drop_value is only possible where per_channel is false");
  }

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    const DropoutPlan dropout = draw(frame, key);
    const Rng drop(dropout.key);
    const auto channels = static_cast<size_t>(frame.channels);
    for (size_t i = 0; i < frame.image.size(); ++i)
      if (drop.uniform(per_channel_ ? i : i / channels) < probability_)
        frame.image[i] = dropout.colour.at(i % channels);
    if (!mask_value_) return;
    const Rng drop_mask(v2_ ? key.part("drop mask") : dropout.key);
    for (size_t i = 0; i < frame.mask.size(); ++i)
      if (drop_mask.uniform(i) < probability_) frame.mask[i] = *mask_value_ != 0 ? 1 : 0;
  }

  DeviceStep device_step() const override {
    return mask_value_ ? DeviceStep::none : DeviceStep::dropout;
  }
  void plan(PlannedFrame& frame, const RngKey& key) const override {
    frame.plan.dropout = draw(frame, key);
  }

 private:
  DropoutPlan draw(const FrameShape& frame, const RngKey& key) const {
    const Rng rng(key);
    DropoutPlan plan = {.key = key.part("drop"),
                        .probability = probability_,
                        .per_channel = per_channel_,
                        .colour = {}};
    for (size_t c = 0; c < static_cast<size_t>(frame.channels); ++c)
      plan.colour.at(c) = value_ ? static_cast<float>(*value_)
                                 : static_cast<float>(rng.below(1 + static_cast<uint64_t>(c), 255));
    return plan;
  }

  bool v2_;
  double probability_;
  bool per_channel_;
  std::optional<double> value_;
  std::optional<double> mask_value_;
};

const RegisterTransform<PixelDropout> kRegistered("PixelDropout", 0.5);

}  // namespace
}  // namespace decant::data
