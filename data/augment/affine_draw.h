#pragma once

#include <cmath>

#include "data/augment/transform.h"

namespace decant::data {

/// What Affine and ShiftScaleRotate draw.
struct AffineDraw {
  double angle = 0;  ///< degrees, counter-clockwise
  double scale_x = 1, scale_y = 1;
  double shear_x = 0, shear_y = 0;  ///< degrees
  double dx = 0, dy = 0;            ///< pixels

  /// The map of positions, about the centre (W / 2 - 0.5, H / 2 - 0.5) of a frame:
  ///   v1: shift rotate (x += tan(shear_x) y) scale (y -= tan(shear_y) x)
  ///   v2: shift (x -= tan(shear_x) y, y -= tan(shear_y) x) rotate scale, the last first
  Affine on(const FrameShape& frame, Version version) const {
    const double tx = std::tan(shear_x * std::acos(-1) / 180);
    const double ty = std::tan(shear_y * std::acos(-1) / 180);
    const Affine turn = Affine::rotation(angle, 0, 0);
    const Affine scale = Affine::scaling(scale_x, scale_y);
    const Affine move = version == Version::v1 ? turn * Affine{{1, tx, 0, 0, 1, 0}} * scale *
                                                     Affine{{1, 0, 0, -ty, 1, 0}}
                                               : Affine{{1, -tx, 0, -ty, 1, 0}} * turn * scale;
    const double cx = frame.width / 2.0 - 0.5;
    const double cy = frame.height / 2.0 - 0.5;
    return Affine::translation(cx + dx, cy + dy) * move * Affine::translation(-cx, -cy);
  }
};

}  // namespace decant::data
