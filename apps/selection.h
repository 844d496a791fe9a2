#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/checkpoint_notes.h"
#include "apps/config.h"
#include "data/dataset.h"

namespace decant::apps {

/// What the run folder around a checkpoint knows of its training.
struct Origin {
  TrainConfig config;
  Json split;
  /// Where its teacher lies, "" without one: where the run found it, but in a study beside the run,
  /// wherever the study has moved or was copied to.
  std::string teacher;
};

/// Empty where the checkpoint lies in no run folder.
std::optional<Origin> origin_of(const std::filesystem::path& checkpoint);

/// The data set in `path`; "" takes the one that the checkpoint was trained on.
/// Throws Error where neither is known.
data::Dataset open_data(const std::string& path, const std::string& layout,
                        const std::optional<Origin>& origin);

/// The images to evaluate a checkpoint on, and what they were to it.
struct Selection {
  std::vector<std::string> ids;
  std::string part;    ///< train, val, test or all
  std::string label;   ///< "images that neither trained nor chose it"
  bool chose = false;  ///< whether those that chose it are known to be among them
};

/// What a part of its own split was to a network: "images that neither trained nor chose it".
std::string label_of_part(const std::string& part);

/// The part `asked` (train, val, test, all) of the data set. "" takes test where the run has one,
/// else val; of data that is not the run's own (wherever it lies now, the images that chose the
/// checkpoint must be the same to the pixel), all.
/// Throws Error where there is no such part, or no image in it.
Selection select_images(const data::Dataset& dataset, const TrainedNetwork& trained,
                        const std::optional<Origin>& origin, const std::string& asked);

}  // namespace decant::apps
