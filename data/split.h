#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace decant::data {

/// Which images train, which choose the checkpoint (val), which are seen only at the end (test).
struct Split {
  std::vector<std::string> train, val, test;  ///< ids in the data set's order

  /// Throws Error where `name` is not train, val, test or all.
  std::vector<std::string> part(std::string_view name) const;
  bool operator==(const Split&) const = default;
};

/// One or several splits of one data set, and the words they were made from.
struct SplitSet {
  std::string origin;  ///< such as "random:3:130 seed 0"; goes into the run folder
  std::vector<Split> folds;

  /// Throws Error naming the fold and how many there are.
  const Split& fold(int64_t index) const;
};

/// Makes the splits that `spec` asks for:
///   manifest            the split column of the data set's manifest, for every image
///   random:K:TRAIN      K random splits; TRAIN images (or a share such as 0.8) train, the rest val
///   random:K:TRAIN:VAL  the rest is test
///   kfold:K             K folds, each val once; K is 1000 at most, of random splits as well
///   kfold:K:test        each fold test once and the next one val
///   FILE.json           a file that to_json wrote
///   "" (or "default")   manifest where it gives every image a split and there are both train and
///                       val, otherwise random:1:0.8; the origin says which
/// Random splits and folds keep the classes in proportion; images of one patient, and
/// near-duplicates, always stay together, so sizes are met as closely as the groups allow.
/// The same seed gives the same split whatever the order of files on disk.
/// Throws Error where the spec is malformed or the data set cannot meet it.
SplitSet make_splits(const Dataset& dataset, std::string_view spec, uint64_t seed);

/// {"origin": "...", "folds": [{"train": [...], "val": [...], "test": [...]}]}
nlohmann::json to_json(const SplitSet& splits);
/// Throws Error where the form is another, or naming keys that are unknown, ids that the data set
/// does not hold or that occur twice. `where` begins every message: a file's name.
SplitSet splits_from_json(const nlohmann::json& given, const Dataset& dataset,
                          std::string_view where = "split");

}  // namespace decant::data
