#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/checkpoint_notes.h"
#include "apps/selection.h"
#include "data/metrics.h"

namespace decant::apps {

/// What measure_runs() asks its networks about.
struct MeasuredData {
  std::string path = {};  ///< data set; "" takes the first run's own
  std::string layout = "auto";
  std::string part = {};  ///< as select_images() reads it
};

/// A trained network, measured on images.
struct MeasuredRun {
  std::string name = {};  ///< its folder's or file's
  std::filesystem::path checkpoint;
  std::optional<Origin> origin;
  CheckpointNotes notes;
  std::string network;
  Selection selection = {};
  data::MetricsReport metrics = {};
  int64_t dataset_images = 0;
  int64_t parameters = 0;
  int64_t macs = 0;       ///< for one image of its size
  double latency_ms = 0;  ///< of one image on this machine
};

/// Those that have a checkpoint: `runs/*` may hold one that has just begun, of which a notice
/// tells. Throws Error, before hours of work, for anything else that is no run, and where none is
/// left.
std::vector<std::string> finished_runs(const std::vector<std::string>& paths);

/// Measures a run folder or a checkpoint at its own size, on the data set of the first of `before`
/// and on its images, or where there is none on its own; both masks empty is a Dice of 1. The time
/// of an answer is that of a run before with the same network and size: what two measurements of it
/// differ by is no difference of the runs. Throws Error where it has no checkpoint, or is asked
/// about other images.
MeasuredRun measure_run(const std::string& path, const MeasuredData& data,
                        std::span<const MeasuredRun> before);

/// All of them, on the images of the first.
std::vector<MeasuredRun> measure_runs(const std::vector<std::string>& runs,
                                      const MeasuredData& data);

}  // namespace decant::apps
