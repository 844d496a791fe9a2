#include "data/augment/lab.h"

#include <algorithm>
#include <cmath>

namespace decant::data {
namespace {

// Source: IEC 61966-2-1 (sRGB); CIE 15. The white point is that of the matrix's rows.
constexpr double kToXyz[3][3] = {
    {0.412453, 0.357580, 0.180423}, {0.212671, 0.715160, 0.072169}, {0.019334, 0.119193, 0.950227}};
constexpr double kToRgb[3][3] = {{3.240479, -1.53715, -0.498535},
                                 {-0.969256, 1.875991, 0.041556},
                                 {0.055648, -0.204043, 1.057311}};
constexpr double kWhite[3] = {0.950456, 1, 1.088754};
constexpr double kDark = 0.008856;  // of Y / Yn: below it the curves are straight
constexpr double kSlope = 7.787;
constexpr double kLightness = 903.3;

double linear(double v) {
  return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
}

double encoded(double v) {
  return v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
}

double uncurve(double f) {
  const double cube = f * f * f;
  return cube > kDark ? cube : (f - 16.0 / 116) / kSlope;
}

// OpenCV's fixed point, because a histogram turns a level of L into several of the result: light in
// 1 / 2040, its mixtures by weights in 1 / 4096, their roots in 1 / 32768.
constexpr int kLightSteps = 255 * 8;
constexpr int kWeightBits = 12;
constexpr int kRootBits = 15;

int rounded_shift(int64_t v, int bits) {
  return static_cast<int>((v + (int64_t{1} << (bits - 1))) >> bits);
}

/// The light of every 8-bit value, and the root of every mixture.
struct Tables {
  std::array<int, 256> light;
  std::array<int, 256 * 8 * 3 / 2> root;

  Tables() {
    for (size_t i = 0; i < light.size(); ++i)
      light[i] = static_cast<int>(std::lrint(kLightSteps * linear(static_cast<double>(i) / 255)));
    for (size_t i = 0; i < root.size(); ++i) {
      const double t = static_cast<double>(i) / kLightSteps;
      const double f = t < 216.0 / 24389 ? t * 841 / 108 + 16.0 / 116 : std::cbrt(t);
      root[i] = static_cast<int>(std::lrint(f * (1 << kRootBits)));
    }
  }
};

uint8_t byte_of(int64_t v) {
  return static_cast<uint8_t>(std::clamp(rounded_shift(v, kRootBits), 0, 255));
}

}  // namespace

std::array<uint8_t, 3> lab_of(const std::array<uint8_t, 3>& rgb) {
  static const Tables tables;
  int64_t f[3];
  for (size_t i = 0; i < 3; ++i) {
    int64_t mixture = 0;
    for (size_t k = 0; k < 3; ++k)
      mixture += std::lrint(kToXyz[i][k] / kWhite[i] * (1 << kWeightBits)) * tables.light[rgb[k]];
    f[i] = tables.root[static_cast<size_t>(rounded_shift(mixture, kWeightBits))];
  }
  constexpr int64_t kOne = 1 << kRootBits;
  constexpr int64_t kL = (116 * 255 + 50) / 100;
  constexpr int64_t kLShift = (16 * 255 * kOne + 50) / 100;
  return {byte_of(kL * f[1] - kLShift), byte_of(500 * (f[0] - f[1]) + 128 * kOne),
          byte_of(200 * (f[1] - f[2]) + 128 * kOne)};
}

std::array<float, 3> rgb_of(const std::array<uint8_t, 3>& lab) {
  const double lightness = lab[0] * 100 / 255.0;
  const bool dark = lightness <= kDark * kLightness;
  const double y = dark ? lightness / kLightness : 0;
  const double fy = dark ? kSlope * y + 16.0 / 116 : (lightness + 16) / 116;
  const double xyz[3] = {kWhite[0] * uncurve(fy + (lab[1] - 128) / 500.0), dark ? y : fy * fy * fy,
                         kWhite[2] * uncurve(fy - (lab[2] - 128) / 200.0)};
  std::array<float, 3> rgb{};
  for (size_t i = 0; i < 3; ++i) {
    const double* row = kToRgb[i];
    const double light = row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2];
    rgb[i] = static_cast<float>(255 * encoded(std::clamp(light, 0.0, 1.0)));
  }
  return rgb;
}

}  // namespace decant::data
