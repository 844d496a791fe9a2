#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// Sets each pixel to drop_value with probability dropout_prob; per_channel: each value by itself.
/// drop_value null: a random colour, one per image. mask_drop_value null leaves the mask as it is,
/// otherwise the same pixels of the mask are set to it.
/// Source: Albumentations 1.3.1, PixelDropout.
class PixelDropout : public Transform {
 public:
  explicit PixelDropout(Arguments& arguments)
      : probability_(arguments.number("dropout_prob", 0.01)),
        per_channel_(arguments.flag("per_channel", false)),
        value_(arguments.optional_number("drop_value", 0)),
        mask_value_(arguments.optional_number("mask_drop_value", {})) {
    check(probability_ >= 0 && probability_ <= 1,
          "PixelDropout: expected dropout_prob in 0 .. 1, got ", probability_);
    check(!mask_value_ || !per_channel_,
          "PixelDropout: mask_drop_value is only possible where per_channel is false");
  }

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    const Rng rng(key);
    const Rng drop(key.part("drop"));
    const auto channels = static_cast<size_t>(frame.channels);
    for (size_t i = 0; i < frame.image.size(); ++i) {
      if (drop.uniform(per_channel_ ? i : i / channels) >= probability_) continue;
      const size_t c = i % channels;
      frame.image[i] = value_ ? static_cast<float>(*value_)
                              : static_cast<float>(rng.below(1 + static_cast<uint64_t>(c), 255));
    }
    if (!mask_value_) return;
    for (size_t i = 0; i < frame.mask.size(); ++i)
      if (drop.uniform(i) < probability_) frame.mask[i] = *mask_value_ != 0 ? 1 : 0;
  }

 private:
  double probability_;
  bool per_channel_;
  std::optional<double> value_;
  std::optional<double> mask_value_;
};

const RegisterTransform<PixelDropout> kRegistered("PixelDropout", 0.5);

}  // namespace
}  // namespace decant::data
