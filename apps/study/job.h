#pragma once

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/study/study.h"
#include "data/metrics.h"

namespace decant::apps {

enum class JobEnd { done, interrupted, held };

/// Trains the job's network, or goes on where that stopped, measures it on the images of its split
/// that chose nothing (on those that chose it where there are none), and writes the job's results.
/// `held`: another process is at work on it. Throws Error where the study has been planned anew
/// since it was opened, its teacher is not done or is gone, images or its --init file have changed
/// since the study began, or a run that lies there has other settings or
/// another split.
JobEnd run_job(const Study& study, const Job& job, int threads, bool steal);

/// What else than its settings a job's result depends on, and what it took, as JSON.
std::filesystem::path provenance_file(const Study& study, const Job& job);

/// The program that trained a job, as its provenance says: program_build(), of several "A, then B";
/// "" where nobody has begun it.
std::string programs_of(const Study& study, const Job& job);

/// The part of a split that a trained network is measured on: test where it has images, else val.
const char* measured_part(const data::Split& split);

/// A trained network on images, one by one, each at its own size; both empty is a Dice of 1.
data::MetricsReport measure(const TrainedNetwork& trained, const data::Dataset& dataset,
                            const std::vector<std::string>& ids);

}  // namespace decant::apps
