#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

/// y = clip(a x + b), a = 1 + U(contrast_limit), b = U(brightness_limit) 255; with
/// brightness_by_max false the image's mean stands for 255 (in version 1 the mean of a x).
/// ensure_safe_range (version 2) brings a and b to where nothing is clipped.
/// Source: Albumentations 1.3.1 and 2.0.8, RandomBrightnessContrast.
class RandomBrightnessContrast : public Transform {
 public:
  explicit RandomBrightnessContrast(Arguments& arguments)
      : v2_(arguments.is_v2()),
        brightness_(arguments.range("brightness_limit", {-0.2, 0.2})),
        contrast_(arguments.range("contrast_limit", {-0.2, 0.2})),
        by_max_(arguments.flag("brightness_by_max", true)),
        safe_(v2_ && arguments.flag("ensure_safe_range", false)) {}

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    const Rng rng(key);
    double a = 1 + rng.uniform(1, contrast_.low, contrast_.high);
    double b = rng.uniform(2, brightness_.low, brightness_.high);
    if (by_max_) {
      b *= kWhite;
    } else {
      const double sum = std::accumulate(frame.image.begin(), frame.image.end(), 0.0);
      b *= sum / static_cast<double>(frame.image.size()) * (v2_ ? 1 : a);
    }
    if (safe_) make_safe(a, b);
    for (float& v : frame.image)
      v = static_cast<float>(std::clamp(a * static_cast<double>(v) + b, 0.0, kWhite));
  }

 private:
  static constexpr double kWhite = 255;

  static void make_safe(double& a, double& b) {
    if (a > 0) {
      b = std::clamp(b, 0.0, kWhite);
      a = std::min(a, (kWhite - b) / kWhite);
    } else {
      b = std::min(b, kWhite);
      a = std::max(a, -b / kWhite);
    }
  }

  bool v2_;
  Arguments::Range brightness_, contrast_;
  bool by_max_;
  bool safe_;
};

/// y = 255 (x / 255)^g, g = U(gamma_limit) / 100.
/// Source: Albumentations 1.3.1 and 2.0.8, RandomGamma.
class RandomGamma : public Transform {
 public:
  explicit RandomGamma(Arguments& arguments)
      : gamma_(arguments.range("gamma_limit", {80, 120},
                               arguments.is_v2() ? std::optional(1.0) : std::nullopt)) {
    check(gamma_.low > 0, "RandomGamma: expected gamma_limit above 0, got ", gamma_.low);
    if (!arguments.is_v2()) arguments.ignore("eps");
  }

  bool needs_grey_levels() const override { return true; }

  void apply(Frame& frame, const RngKey& key) const override {
    const double gamma = Rng(key).uniform(1, gamma_.low, gamma_.high) / 100;
    for (float& v : frame.image)
      v = static_cast<float>(255 * std::pow(std::max(0.0, static_cast<double>(v)) / 255, gamma));
  }

 private:
  Arguments::Range gamma_;
};

const RegisterTransform<RandomBrightnessContrast> kBrightness("RandomBrightnessContrast", 0.5);
const RegisterTransform<RandomGamma> kGamma("RandomGamma", 0.5);

}  // namespace
}  // namespace decant::data
