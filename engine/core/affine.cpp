#include "engine/core/affine.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/error.h"

namespace decant {

Affine Affine::translation(double dx, double dy) {
  return {{1, 0, dx, 0, 1, dy}};
}

Affine Affine::scaling(double sx, double sy) {
  return {{sx, 0, 0, 0, sy, 0}};
}

Affine Affine::rotation(double degrees, double cx, double cy) {
  const double radians = degrees * std::numbers::pi / 180;
  const double c = std::cos(radians);
  const double s = std::sin(radians);
  return translation(cx, cy) * Affine{{c, s, 0, -s, c, 0}} * translation(-cx, -cy);
}

Affine Affine::inverse() const {
  const double d = determinant();
  const double a = m[4] / d;
  const double b = -m[1] / d;
  const double e = -m[3] / d;
  const double f = m[0] / d;
  const Affine inverse{{a, b, -(a * m[2] + b * m[5]), e, f, -(e * m[2] + f * m[5])}};
  const auto finite = [](double v) { return std::isfinite(v); };
  check(std::ranges::all_of(m, finite) && std::ranges::all_of(inverse.m, finite),
        "Affine::inverse: expected finite numbers and a determinant other than 0, got ", m[0], ' ',
        m[1], ' ', m[2], ' ', m[3], ' ', m[4], ' ', m[5]);
  return inverse;
}

Affine operator*(const Affine& a, const Affine& b) {
  const auto& p = a.m;
  const auto& q = b.m;
  return {{p[0] * q[0] + p[1] * q[3], p[0] * q[1] + p[1] * q[4], p[0] * q[2] + p[1] * q[5] + p[2],
           p[3] * q[0] + p[4] * q[3], p[3] * q[1] + p[4] * q[4], p[3] * q[2] + p[4] * q[5] + p[5]}};
}

}  // namespace decant
