#include <algorithm>
#include <cmath>

#include "data/augment/convolve.h"

namespace decant::data {
namespace {

/// Convolves with a Gaussian; size and sigma are drawn, each edge mirrored (reflect_101).
///   v1: an odd size of blur_limit, sigma ~ U(sigma_limit). Where sigma is 0 it follows from the
///       size, 0.3 ((size - 1) / 2 - 1) + 0.8, and OpenCV's small kernels; where the size is 0 it
///       follows from sigma
///   v2: sigma ~ U(sigma_limit); the size of blur_limit, made odd, or 2 int(3.5 sigma) + 1 for 0
/// Source: Albumentations 1.3.1 and 2.0.8, GaussianBlur.
class GaussianBlur : public Transform {
 public:
  explicit GaussianBlur(Arguments& arguments)
      : v2_(arguments.is_v2()),
        size_(arguments.whole_range("blur_limit", v2_ ? kFromSigma : Range{3, 7}, 0.0)),
        sigma_(arguments.range("sigma_limit", v2_ ? Range{0.5, 3} : Range{0, 0}, 0.0)) {
    check(size_.low >= 0 && size_.high <= 1023,
          "GaussianBlur: expected blur_limit within 0 .. 1023, got ", size_.low, " .. ",
          size_.high);
    check(sigma_.low >= (v2_ ? 1e-3 : 0) && sigma_.high <= 256,
          "GaussianBlur: expected sigma_limit of at least ", v2_ ? 1e-3 : 0,
          " and at most 256, got ", sigma_.low, " .. ", sigma_.high);
    if (v2_) return;
    if (size_.low == 0 && sigma_.low == 0) size_ = {3, std::max(3.0, size_.high)};
    for (const double size : {size_.low, size_.high})
      check(size == 0 || std::fmod(size, 2) == 1,
            "GaussianBlur: expected odd numbers for 'blur_limit', got ", size);
  }

  void apply(Frame& frame, const RngKey& key) const override {
    const Rng rng(key);
    const auto sizes = static_cast<uint64_t>(size_.high - size_.low) + 1;
    const int drawn = static_cast<int>(size_.low) + static_cast<int>(rng.below(1, sizes));
    const int size = drawn % 2 == 0 && drawn > 0 ? drawn + 1 : drawn;
    const double sigma = rng.uniform(2, sigma_.low, sigma_.high);
    convolve(frame.image, {frame.width, frame.height, frame.channels},
             v2_ ? kernel_v2(size, sigma) : kernel_v1(size, sigma), Border::reflect_101);
  }

 private:
  using Range = Arguments::Range;
  static constexpr Range kFromSigma = {0, 0};

  static std::vector<double> kernel_v2(int size, double sigma) {
    return gaussian_kernel(size == 0 ? 2 * static_cast<int>(3.5 * sigma) + 1 : size, sigma);
  }

  static std::vector<double> kernel_v1(int size, double sigma) {
    if (size == 0) size = static_cast<int>(std::lrint(sigma * 3 * 2 + 1)) | 1;
    if (sigma > 0) return gaussian_kernel(size, sigma);
    switch (size) {
      case 1:
        return {1};
      case 3:
        return {1.0 / 4, 1.0 / 2, 1.0 / 4};
      case 5:
        return {1.0 / 16, 4.0 / 16, 6.0 / 16, 4.0 / 16, 1.0 / 16};
      case 7:
        return {2.0 / 64, 7.0 / 64, 14.0 / 64, 18.0 / 64, 14.0 / 64, 7.0 / 64, 2.0 / 64};
      case 9:
        return {4.0 / 256,  13.0 / 256, 30.0 / 256, 51.0 / 256, 60.0 / 256,
                51.0 / 256, 30.0 / 256, 13.0 / 256, 4.0 / 256};
      default:
        return gaussian_kernel(size, 0.3 * ((size - 1) * 0.5 - 1) + 0.8);
    }
  }

  bool v2_;
  Range size_, sigma_;
};

/// Every value becomes the median of the square of an odd size about it, drawn from blur_limit; the
/// edges are continued by their outermost pixels.
/// Source: Albumentations 1.3.1 and 2.0.8, MedianBlur.
class MedianBlur : public Transform {
 public:
  explicit MedianBlur(Arguments& arguments)
      : size_(arguments.whole_range("blur_limit", {3, 7}, 3.0)) {
    for (const double size : {size_.low, size_.high})
      check(size >= 1 && size <= 255 && std::fmod(size, 2) == 1,
            "MedianBlur: expected odd numbers of 1 .. 255 for 'blur_limit', got ", size);
  }

  void apply(Frame& frame, const RngKey& key) const override {
    const auto sizes = static_cast<uint64_t>(size_.high - size_.low) / 2 + 1;
    const auto radius =
        static_cast<int64_t>(size_.low) / 2 + static_cast<int64_t>(Rng(key).below(1, sizes));
    const std::vector<float> image = frame.image;
    std::vector<float> window(static_cast<size_t>((2 * radius + 1) * (2 * radius + 1)));
    const auto middle = window.begin() + static_cast<int64_t>(window.size() / 2);
    auto out = frame.image.begin();
    for (int64_t y = 0; y < frame.height; ++y)
      for (int64_t x = 0; x < frame.width; ++x)
        for (int64_t c = 0; c < frame.channels; ++c) {
          auto next = window.begin();
          for (int64_t dy = -radius; dy <= radius; ++dy) {
            const int64_t row = std::clamp<int64_t>(y + dy, 0, frame.height - 1) * frame.width;
            for (int64_t dx = -radius; dx <= radius; ++dx) {
              const int64_t pixel = row + std::clamp<int64_t>(x + dx, 0, frame.width - 1);
              *next++ = image[static_cast<size_t>(pixel * frame.channels + c)];
            }
          }
          std::nth_element(window.begin(), middle, window.end());
          *out++ = *middle;
        }
  }

 private:
  Arguments::Range size_;
};

const RegisterTransform<GaussianBlur> kGaussian("GaussianBlur", 0.5);
const RegisterTransform<MedianBlur> kMedian("MedianBlur", 0.5);

}  // namespace
}  // namespace decant::data
