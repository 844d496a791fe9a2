#pragma once

#include "data/phantom/noise.h"
#include "data/phantom/tissue.h"

namespace decant::data {

/// The part of the tissue in which a lesion's centre may lie, in shares of the size.
struct Region {
  double left, right, top, bottom;
};

/// Puts one lesion into the tissue and appends its mask.
///   benign: an ellipse or a few smooth lobes, wider than tall, a thin capsule, sometimes a cyst;
///           the echo behind it is enhanced
///   malignant: taller, lobulated to spiculated, a blurred margin with a bright halo, uneven
///           inside, sometimes with calcifications; it casts a shadow
void add_lesion(Tissue& tissue, bool malignant, const Region& region, const RngKey& key);

/// A roundish dark spot that is no lesion, such as a fat lobule: what a network must not mark.
void add_distractor(Tissue& tissue, const Region& region, const RngKey& key);

}  // namespace decant::data
