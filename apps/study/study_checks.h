#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "apps/study/study.h"

namespace decant::apps {

/// One line where runs of jobs that are done are gone, which says what is lost with them and how
/// they are done again; "" where all are there.
std::string lost_runs_text(const Study& study);

/// Throws Error where the teacher of a job is done and its network is gone.
void check_teacher(const Study& study, const Job& job);

/// Throws Error where the folder holds another study by now than the one that was opened. Who holds
/// the lock of a job asks this: from then on nobody plans anew.
void check_plan(const Study& study);

/// Reads all images and masks again: throws Error naming their place where they are not those that
/// the study began with. Whoever is about to train asks this first. `dataset`: as they were read.
void check_data(const Study& study);
void check_data(const Study& study, const data::Dataset& dataset);

/// Reads the --init files again that the jobs will begin with (one that has trained has its weights
/// already): throws Error naming one that is not there, or not the one that the study began with.
void check_init(const Study& study, std::span<const Job> jobs);

/// Of the weights that a network begins with, as its setting `init` names them. Throws Error that
/// begins with `where` where they are not there.
uint64_t init_digest(const std::string& init, const std::string& where);

/// Throws Error that begins with `where` where they are no weights that can be read.
void check_weights(const std::string& init, const std::string& where);

/// Of the files of all images and masks, as hexadecimal digits.
std::string checksum_of(const data::Dataset& dataset);

}  // namespace decant::apps
