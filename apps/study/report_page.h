#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/study/curves.h"
#include "apps/study/gallery.h"
#include "apps/study/results.h"

namespace decant::apps {

/// What lies in the folder of a run, beside its figures in Results.
struct RunFiles {
  Curves curves;          ///< empty where the folder is not there
  Json config = nullptr;  ///< config.json; null where the folder is not there
  /// What else the run depends on, as a study keeps it (apps/study/job.h); null where it is not
  /// known.
  Json provenance = nullptr;
};

/// All that a report shows.
struct Report {
  Results results;
  std::vector<RunFiles> files = {};  ///< one for each of results.runs
  std::optional<Gallery> gallery = {};
  std::vector<std::string> remarks = {};  ///< what the reader must know of the figures
};

/// One HTML page that needs nothing beside itself: no network, no script; pictures lie within it.
/// It forbids its browser to fetch anything (Content-Security-Policy). All texts are escaped.
std::string report_page(const Report& report);

}  // namespace decant::apps
