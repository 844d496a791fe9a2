#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/measured_run.h"
#include "apps/study/report_page.h"

namespace decant::apps {

/// The report of a study: what read_study() finds by now, with what lies in the folders of its
/// runs. Of a results.json, alone in a folder or named itself: what that says. Throws Error where
/// no job is done. A run or a data set that is not there any more is a remark on the page. `data`:
/// where the images are now; of an empty path, where they were. Throws Error where results.json is
/// not there or not such a file.
Report report_of_study(const std::filesystem::path& folder, const MeasuredData& data);

/// The report of runs that were made one by one: they are measured on the same images first, with
/// the teacher that they learned from where that still lies in its place.
/// Throws Error as measure_runs() does.
Report report_of_runs(const std::vector<std::string>& runs, const MeasuredData& data);

/// Whether a study has begun there, or its results.json lies there.
bool is_study(const std::filesystem::path& path);

}  // namespace decant::apps
