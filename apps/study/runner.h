#pragma once

#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/study/study.h"

namespace decant::apps {

/// Every n-th job of a study and what those need; the default is all.
struct Shard {
  int64_t index = 1;  ///< 1 .. count
  int64_t count = 1;

  /// "2/4". Throws Error for what is no such thing.
  static Shard parse(const std::string& text);
};

struct RunnerOptions {
  int64_t workers = 1;  ///< jobs at a time
  Shard shard;
  bool steal = false;  ///< take over what other hosts hold
  bool wait = false;   ///< wait for what other hosts hold where nothing else is left
  int threads = 0;     ///< of all workers together; 0 takes what the process may run on
};

/// The jobs of a shard, in order.
std::vector<Job> jobs_of(const Study& study, const Shard& shard);

/// Does what is not done, each job in a child process of this program that holds the job's lock.
/// Jobs that other processes are at work on are left to them and waited for. Where a job fails, the
/// others go on, but for those that need it.
/// Exit::done when all jobs of the shard are; interrupted by SIGINT or SIGTERM (what has been
/// trained is kept). Throws Error where images or --init files have changed since the study began
/// (check_data, check_init) or it was planned anew (check_plan), the network of a teacher is gone
/// that a job to come needs, or naming the first job that failed and its log, or a job that another
/// host holds where nothing else is left to do.
Exit run_jobs(const Study& study, const RunnerOptions& options);

}  // namespace decant::apps
