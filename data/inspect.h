#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/duplicates.h"

namespace decant::data {

/// One thing found wrong or remarkable about one file.
struct Fault {
  std::filesystem::path file;
  std::string what;
  bool refused = false;  ///< whether training would not accept the data set because of it
};

/// What decoding one sample shows.
struct Finding {
  std::vector<Fault> faults;
  ImageSize size;
  Fingerprint print;
  int64_t lesion_pixels = 0;
  bool readable = false;
  bool has_mask = false;
};

/// Decodes every sample, in parallel; findings in the order of the samples. What check-data reports
/// and what training refuses is one and the same. Faults of files are entries, not exceptions.
std::vector<Finding> inspect(const Dataset& dataset);

/// "3.5 %" and "640 x 480", as reports write them.
std::string percent(double share);
std::string size_text(ImageSize size);

}  // namespace decant::data
