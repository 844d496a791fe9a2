#pragma once

#include <vector>

#include "apps/study/results.h"
#include "apps/study/study.h"

namespace decant::apps {

/// The results of all jobs that are done, with the table that follows. Nothing is written or
/// measured: times are those of this machine and program in latency.json. Where that lacks one that
/// results.json has, all are those of results.json, with where they were measured; a network of
/// neither has none.
/// Throws Error where no job is done, or naming a record of one that cannot be read.
Results read_study(const Study& study);

/// The same, as results.json in the study's folder has them then. Latencies are measured here, of
/// all networks (cells of one network and size share a time) in one go, once by each program on
/// each machine, and kept in latency.json; not while a job of the study is at work, nor of networks
/// of which no run's folder is left. Where nothing is kept (is_kept) nothing is written or
/// measured.
Results collect(const Study& study);

/// The rows of the table, from cells and runs: one for each cell with runs.
///
/// Dice is that of images with a lesion. An image that was tested several times (in several random
/// splits, from several seeds) is one image: its mean over splits of its means over seeds. So the
/// values of a test are of different images. The figure of a split is the mean over its images.
/// Cells are compared on what both have of image, split and seed, and averaged then (scores.h),
/// also where a study is not done: a distilled cell to its own teacher, which serves every seed of
/// its split, others to the first teacher; each to its student. Holm's correction is over the
/// distilled rows of one column: what a study asks; others have no corrected p.
std::vector<TableRow> table_of(const Results& results);

}  // namespace decant::apps
