#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/image_io.h"

namespace decant::data {

struct PhantomOptions {
  int64_t count = 240;
  int size = 128;  ///< pixels a side
  uint64_t seed = 1;
};

/// One simulated B-mode image of a breast and what is in it.
struct Phantom {
  std::string class_name;    ///< benign, malignant or normal
  Image image;               ///< one channel
  std::vector<Image> masks;  ///< one channel, 0 or 255; one per lesion, one of zeros for normal
};

/// Phantom number `index` of a series: a pure function of seed, size and index.
Phantom make_phantom(const PhantomOptions& options, int64_t index);

/// Writes `count` phantoms in the BUSI layout, benign/benign (1).png with benign (1)_mask.png and
/// so on, about 5 : 3 : 1 benign, malignant and normal. The same options give the same bytes.
/// What an interrupted writing left (NAME.png.tmp) is removed.
/// Throws Error where the options make no sense, or where the folder holds files other than those:
/// a series of another seed or size, too.
void write_phantoms(const std::filesystem::path& folder, const PhantomOptions& options);

}  // namespace decant::data
