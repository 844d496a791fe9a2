#include <algorithm>
#include <cmath>

#include "data/augment/distortion.h"

namespace decant::data {
namespace {

/// Moves every pixel by smooth noise (ElasticField); version 1 first applies a random affine map
/// that moves three corners by up to alpha_affine pixels (elastic_affine).
/// Noise: version 1 U(-1, 1); version 2 by noise_distribution uniform, or gaussian, divided by its
/// greatest amount. same_dxdy: one field for both axes.
/// Its geometry is not told: see Pipeline::not_affine.
/// Source: Albumentations 1.3.1 and 2.0.8, ElasticTransform (Simard et al. 2003).
class ElasticTransform : public Transform {
 public:
  explicit ElasticTransform(Arguments& arguments)
      : field_{.alpha = arguments.number("alpha", 1),
               .sigma = arguments.number("sigma", 50),
               .approximate = arguments.flag("approximate", false),
               .version = arguments.is_v2() ? Version::v2 : Version::v1},
        same_(arguments.flag("same_dxdy", false)),
        sampling_(read_sampling(arguments)) {
    check(field_.sigma > 0 && field_.sigma <= 4096,
          "ElasticTransform: expected sigma above 0 and at most 4096, got ", field_.sigma);
    if (arguments.is_v2()) {
      const std::string noise = arguments.word("noise_distribution", "gaussian");
      check(noise == "gaussian" || noise == "uniform",
            "ElasticTransform: expected a noise_distribution of gaussian or uniform, got '", noise,
            "'");
      gaussian_ = noise == "gaussian";
      arguments.ignore("keypoint_remapping_method");
    } else {
      affine_ = arguments.number("alpha_affine", 50);
    }
  }

  bool is_affine() const override { return false; }

  void apply(Frame& frame, const RngKey& key) const override {
    check_channel_values(sampling_.outside.fill, frame, "ElasticTransform");
    if (affine_ != 0) {
      const Rng rng(key);
      std::array<double, 6> moves{};
      for (size_t i = 0; i < moves.size(); ++i) moves[i] = rng.uniform(1 + i, -affine_, affine_);
      const Affine to_source = elastic_affine(frame, moves).inverse();
      resample(frame, sampling_, to_source);
    }
    const auto pixels = static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height);
    std::vector<float> x = noise(pixels, key.part("x"));
    std::vector<float> y = same_ ? std::vector<float>{} : noise(pixels, key.part("y"));
    if (gaussian_) to_unit(x, y);
    resample(frame, sampling_, field_.map(frame.width, frame.height, std::move(x), std::move(y)));
  }

 private:
  std::vector<float> noise(size_t count, const RngKey& key) const {
    const Rng rng(key);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(gaussian_ ? rng.normal(i) : rng.uniform(i, -1, 1));
    return values;
  }

  static void to_unit(std::vector<float>& x, std::vector<float>& y) {
    float most = 1e-6F;
    for (const auto* field : {&x, &y})
      for (const float v : *field) most = std::max(most, std::fabs(v));
    for (auto* field : {&x, &y})
      for (float& v : *field) v /= most;
  }

  ElasticField field_;
  bool same_;
  bool gaussian_ = false;
  double affine_ = 0;
  Sampling sampling_;
};

const RegisterTransform<ElasticTransform> kRegistered("ElasticTransform", 0.5);

}  // namespace
}  // namespace decant::data
