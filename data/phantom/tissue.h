#pragma once

#include <string_view>
#include <vector>

#include "data/image_io.h"
#include "engine/core/rng.h"

namespace decant::data {

/// A slice of tissue as ultrasound meets it, size x size pixels, depth downwards.
struct Tissue {
  int size = 0;
  std::vector<double> echo_db;         ///< strength of the echo; 0 dB is glandular tissue
  std::vector<double> attenuation_db;  ///< two-way loss over the whole depth, beyond the average
  std::vector<Image> masks;            ///< one per lesion, 0 or 255; one of zeros for none

  size_t index(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x);
  }
};

/// Skin, subcutaneous fat with lobules and ligaments, glandular tissue, retromammary fat, pectoral
/// muscle, chest wall; and the lesions of the class (benign, malignant; none for normal).
Tissue make_tissue(int size, std::string_view class_name, const RngKey& key);

}  // namespace decant::data
