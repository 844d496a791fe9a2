#pragma once

#include <string>

#include "apps/command.h"
#include "apps/config.h"

namespace decant::apps {

/// What `train` and `distill` take.
struct RunOptions {
  TrainConfig config;
  std::string out;
  std::string resume;

  void visit(auto&& v) {
    config.visit(v);
    v("out", out, "run folder to make", "--out");
    v("resume", resume, "run folder to go on with, to the same bits", "--resume");
  }

  /// Writes the distillation's spec out in full. Throws Error where a preset was asked for beside
  /// terms, of which one would have no effect.
  void write_out(const Arguments& arguments);
};

/// Begins a run in options.out, or goes on with options.resume.
/// Throws Error for anything that does not fit, before the folder is made.
Exit run_training(RunOptions& options, const Arguments& arguments, bool distilling);

}  // namespace decant::apps
