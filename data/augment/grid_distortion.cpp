#include "data/augment/distortion.h"

namespace decant::data {
namespace {

/// Stretches the rows and columns of a grid of num_steps cells a side, each by its own
/// 1 + U(distort_limit) (grid_positions).
/// normalized (version 2's default): the image stays within its frame.
/// Its geometry is not told: see Pipeline::not_affine.
/// Source: Albumentations 1.3.1 and 2.0.8, GridDistortion.
class GridDistortion : public Transform {
 public:
  explicit GridDistortion(Arguments& arguments)
      : version_(arguments.is_v2() ? Version::v2 : Version::v1),
        steps_(arguments.integer("num_steps", 5)),
        limit_(arguments.range("distort_limit", {-0.3, 0.3})),
        normalized_(arguments.flag("normalized", arguments.is_v2())),
        sampling_(read_sampling(arguments)) {
    check(steps_ >= 1, "GridDistortion: expected num_steps of at least 1, got ", steps_);
    check(limit_.low >= -1 && limit_.high <= 1,
          "GridDistortion: expected distort_limit within -1 .. 1, got ", limit_.low, " .. ",
          limit_.high);
    if (arguments.is_v2()) arguments.ignore("keypoint_remapping_method");
  }

  bool is_affine() const override { return false; }

  void apply(Frame& frame, const RngKey& key) const override {
    check_channel_values(sampling_.outside.fill, frame, "GridDistortion");
    const std::vector<float> x = positions(frame.width, key.part("x"));
    const std::vector<float> y = positions(frame.height, key.part("y"));
    resample(frame, sampling_, [&](int i, int j) {
      return std::array<double, 2>{x[static_cast<size_t>(i)], y[static_cast<size_t>(j)]};
    });
  }

 private:
  std::vector<float> positions(int size, const RngKey& key) const {
    const Rng rng(key);
    std::vector<double> steps;
    for (int i = 0; i <= steps_; ++i)
      steps.push_back(1 + rng.uniform(static_cast<uint64_t>(i), limit_.low, limit_.high));
    return grid_positions(size, std::move(steps), normalized_, version_);
  }

  Version version_;
  int steps_;
  Arguments::Range limit_;
  bool normalized_;
  Sampling sampling_;
};

const RegisterTransform<GridDistortion> kRegistered("GridDistortion", 0.5);

}  // namespace
}  // namespace decant::data
