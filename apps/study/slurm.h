#pragma once

#include <filesystem>

#include "apps/study/study.h"

namespace decant::apps {

/// Writes job arrays for Slurm into `folder`: teachers, students alone, the distilled students of
/// each split, which wait for that split's teachers, and the table, which waits for all; submit.sh
/// hands them in. The list of an array has all of its jobs, so that elements in the queue go on to
/// mean theirs; only those of jobs that are not done are handed in, and what is done by the time an
/// element starts is left alone, so handing them in again goes on. Returns how many elements the
/// arrays have. Options such as time and partition are the user's: submit.sh gives its own words to
/// every sbatch, and the words of the environment's DECANT_WORDS (--steal, say) to every job of the
/// program. Where a teacher fails, what waits for it is taken from the queue.
int64_t write_slurm(const Study& study, const std::filesystem::path& folder);

}  // namespace decant::apps
