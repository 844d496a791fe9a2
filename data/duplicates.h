#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace decant::data {

/// What two pictures of the same thing have in common whatever their size, format or brightness:
/// a 64-bit difference hash, and a thumbnail of 16 x 16 grey values with mean 0 and length 1.
struct Fingerprint {
  uint64_t hash = 0;
  std::vector<float> thumbnail;
};

/// hash: the picture averaged to 9 x 8 cells, one bit per horizontal neighbour pair (left < right).
/// Source: N. Krawetz 2013, "Kind of like that" (dHash).
Fingerprint fingerprint(const Image& image);

/// Near-duplicates: hashes differ in at most `kHashBits` bits, and the thumbnails correlate by at
/// least `kCorrelation`. The second test is ours: the images of one scanner share so much of their
/// layout that the hash alone joins images of different patients. The limits lie in the gap that
/// 210 images of BUSI show: pairs of one scene at 9 bits and 0.961 or nearer, others at 0.907 or
/// less.
constexpr int kHashBits = 10;
constexpr double kCorrelation = 0.95;
bool near_duplicates(const Fingerprint& a, const Fingerprint& b);

/// Ids of near-duplicates, each group of two and more once, linked transitively. ids[i] belongs to
/// prints[i]; one without a thumbnail (an unreadable image) is in no group.
std::vector<std::vector<std::string>> group_duplicates(const std::vector<std::string>& ids,
                                                       const std::vector<Fingerprint>& prints);

/// The same for a data set. Decodes every image, on all threads of the pool.
std::vector<std::vector<std::string>> duplicate_groups(const Dataset& dataset);

}  // namespace decant::data
