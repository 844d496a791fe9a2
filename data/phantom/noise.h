#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/core/rng.h"

namespace decant::data {

/// Numbers of one key, one after the other.
class Draws {
 public:
  explicit Draws(const RngKey& key) : rng_(key) {}
  double uniform(double low, double high) { return rng_.uniform(next_++, low, high); }
  bool chance(double p) { return uniform(0, 1) < p; }
  int below(int n) { return static_cast<int>(rng_.below(next_++, static_cast<uint64_t>(n))); }

 private:
  Rng rng_;
  uint64_t next_ = 0;
};

/// A smooth random field over the plane with values in about -1 .. 1: random values at the whole
/// numbers, joined by cubic steps (value noise). It repeats after 64 in both directions.
class SmoothNoise {
 public:
  explicit SmoothNoise(const RngKey& key) : values_(kPeriod * kPeriod) {
    const Rng rng(key);
    for (size_t i = 0; i < values_.size(); ++i) values_[i] = rng.uniform(i, -1, 1);
  }

  double operator()(double x, double y = 0) const {
    const double fx = std::floor(x);
    const double fy = std::floor(y);
    const auto ix = static_cast<int64_t>(fx);
    const auto iy = static_cast<int64_t>(fy);
    const double tx = step(x - fx);
    const double ty = step(y - fy);
    const double top = std::lerp(lattice(ix, iy), lattice(ix + 1, iy), tx);
    const double bottom = std::lerp(lattice(ix, iy + 1), lattice(ix + 1, iy + 1), tx);
    return std::lerp(top, bottom, ty);
  }

  /// Three octaves: the field, and finer copies of it with half and a quarter of its weight.
  double fractal(double x, double y) const {
    return ((*this)(x, y) + 0.5 * (*this)(2 * x + 17, 2 * y + 5) +
            0.25 * (*this)(4 * x + 31, 4 * y + 11)) /
           1.5;
  }

  /// Thin curves of height 1, where the field passes through 0; `width` in the field's values.
  double ridges(double x, double y, double width) const {
    const double d = (*this)(x, y) / width;
    return std::exp(-d * d);
  }

  /// The random number of a lattice point, in -1 .. 1.
  double lattice(int64_t x, int64_t y) const {
    return values_[static_cast<size_t>((y & (kPeriod - 1)) * kPeriod + (x & (kPeriod - 1)))];
  }

 private:
  static constexpr int64_t kPeriod = 64;
  static double step(double t) { return t * t * (3 - 2 * t); }

  std::vector<double> values_;
};

/// 0 below `low`, 1 above `high`, smooth between.
inline double smooth_step(double low, double high, double v) {
  const double t = std::clamp((v - low) / (high - low), 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

}  // namespace decant::data
