#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "data/inspect.h"

namespace decant::data {

struct CheckReport {
  std::filesystem::path root;
  std::string layout;
  int64_t images = 0;
  int64_t masks = 0;
  int64_t empty_masks = 0;                       ///< images whose merged mask holds no lesion
  int64_t several_masks = 0;                     ///< images with more than one mask file
  std::map<std::string, int64_t> classes;        ///< class -> images
  std::map<std::string, int64_t> splits;         ///< split of the manifest -> images
  ImageSize smallest, largest, median;           ///< by each side on its own
  std::vector<double> lesion_shares;             ///< of images with a lesion, ascending
  std::vector<Fault> faults;                     ///< in the order of the samples
  std::vector<std::vector<std::string>> groups;  ///< ids of near-duplicates, groups of two and more

  bool accepted() const;
};

/// Decodes everything and reports it; faults of files are entries, not exceptions.
/// Throws Error only where no data set is recognised.
CheckReport check_dataset(const std::filesystem::path& path, std::string_view layout = "auto");

/// What `decant check-data` prints: the counts, then one line per fault and per group.
void print(const CheckReport& report, std::ostream& out);

}  // namespace decant::data
