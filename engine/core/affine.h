#pragma once

#include <array>

namespace decant {

/// A map of the plane, p -> A p + t, on (x, y) in pixels: x along the width, y along the height,
/// with pixel centres at whole numbers (the centre of an image of width W lies at (W - 1) / 2).
///   x' = m[0] x + m[1] y + m[2]
///   y' = m[3] x + m[4] y + m[5]
/// Throughout the project a transform of an image is stored *forward*: it takes a position in the
/// source image to the position in the result. A warp that computes the result pixel by pixel
/// samples the source at inverse().
struct Affine {
  std::array<double, 6> m = {1, 0, 0, 0, 1, 0};

  static Affine translation(double dx, double dy);
  static Affine scaling(double sx, double sy);
  /// Counter-clockwise as seen on the screen (y points down), in degrees, about (cx, cy).
  static Affine rotation(double degrees, double cx, double cy);

  std::array<double, 2> operator()(double x, double y) const {
    return {m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]};
  }

  double determinant() const { return m[0] * m[4] - m[1] * m[3]; }

  /// Throws Error where the determinant is zero or not finite.
  Affine inverse() const;

  bool operator==(const Affine&) const = default;
};

/// (a * b)(p) = a(b(p)): first b, then a.
Affine operator*(const Affine& a, const Affine& b);

}  // namespace decant
