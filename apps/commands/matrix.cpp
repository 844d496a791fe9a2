#include <algorithm>
#include <iostream>
#include <map>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/study/collect.h"
#include "apps/study/estimate.h"
#include "apps/study/job.h"
#include "apps/study/runner.h"
#include "apps/study/slurm.h"
#include "apps/study/study_checks.h"
#include "apps/study/tables.h"

namespace decant::apps {
namespace {

struct MatrixOptions {
  std::string action;
  std::string study;
  std::string out;
  int64_t workers = 1;
  std::string shard;
  std::string job;
  bool steal = false;
  bool wait = false;
  std::string slurm;
  int64_t steps = 2;
  std::string format = "text";
  int threads = 0;

  void visit(auto&& v) {
    v("action", action, "plan, run or table", "action");
    v("study", study, "the study's FILE.json, or its folder", "study");
    v("out", out, "folder of the study, with FILE.json", "--out");
    v("workers", workers, "run: jobs at a time", "--workers");
    v("shard", shard, "plan, run: I/N, every N-th job and what those need", "--shard");
    v("job", job, "run: this job alone, as plan names it", "--job");
    v("steal", steal, "run: take over jobs that other hosts hold: nothing there works on them",
      "--steal");
    v("wait", wait, "run: wait for jobs that other hosts hold", "--wait");
    v("slurm", slurm, "plan: folder to write job arrays for Slurm to", "--slurm");
    v("steps", steps, "plan: training steps to time per kind of job; 0 times none", "--steps");
    v("format", format, "table: text, markdown, latex, csv or json", "--format");
    v("threads", threads, "of all workers together; 0 takes what this process may run on",
      "--threads");
  }
};

// A file begins a study (or finds it begun; a table is of one that has), a folder is one that has.
Study find_study(const MatrixOptions& options) {
  check(!options.study.empty(), "study: expected FILE.json or the folder of a study, got none");
  if (!options.study.ends_with(".json")) {
    check(options.out.empty(), "out: expected FILE.json to begin a study from, got ",
          options.study);
    return open_guarded(options.study);
  }
  check(!options.out.empty(), "out: expected a folder for the study, got none (--out DIR)");
  if (options.action == "table") return open_study_of(options.study, options.out);
  Study study = begin_study(options.study, options.out);
  if (!study.changes.empty())
    std::cerr << "notice: planned anew, as no job had run: " << study.changes << "\n";
  return study;
}

void print_jobs(const Study& study, const Shard& shard,
                const std::map<KindOfJob, EpochTime>& times) {
  std::vector<std::vector<std::string>> table = {
      {"job", "network", "after", "epochs", "about", "state"}};
  for (const Job& job : jobs_of(study, shard)) {
    const KindOfJob kind = kind_of(study, job);
    const int64_t epochs = study.cell_of(job).config.epochs;
    const auto time = times.find(kind);
    table.push_back(
        {job.name, kind.network, job.needs.empty() ? "-" : job.needs, std::to_string(epochs),
         time == times.end() ? "-"
                             : duration_text(static_cast<double>(epochs) * time->second.seconds),
         !study.done(job)         ? "to do"
         : study.has_network(job) ? "done"
                                  : "done, its network is gone"});
  }
  std::cout << columns_text(table, 3);
}

void print_estimate(const Study& study, const MatrixOptions& options,
                    const std::map<KindOfJob, EpochTime>& times) {
  double left = 0;
  bool known = true;
  for (const Job& job : jobs_of(study, Shard::parse(options.shard))) {
    if (study.done(job)) continue;
    const auto time = times.find(kind_of(study, job));
    known = known && time != times.end();
    if (time != times.end())
      left += static_cast<double>(study.cell_of(job).config.epochs) * time->second.seconds;
  }
  std::cout << "\n";
  for (const auto& [kind, time] : times)
    std::cout << "an epoch of " << kind.text() << " at " << kind.size << " x " << kind.size
              << ", batch " << kind.batch << ", " << kind.device << ": " << rounded(time.seconds, 2)
              << " s (from " << time.source << ")\n";
  std::cout << "left: about " << duration_text(left) << (known ? "" : " and what was not timed")
            << ", one job at a time and without stopping early\n";
}

// Not on the standard output, which a table may be written to a file from.
void note_lost_runs(const Study& study) {
  if (const std::string lost = lost_runs_text(study); !lost.empty())
    std::cerr << "notice: " << lost << "\n";
}

Exit plan(const MatrixOptions& options) {
  check(options.steps >= 0, "steps: expected 0 or more, got ", options.steps);
  const Shard shard = Shard::parse(options.shard);
  const Study study = find_study(options);
  check_init(study, jobs_of(study, shard));
  const std::map<KindOfJob, EpochTime> times = epoch_times(study, options.steps, options.threads);
  print_jobs(study, shard, times);
  print_estimate(study, options, times);
  note_lost_runs(study);
  if (options.slurm.empty()) return Exit::done;
  const int64_t elements = write_slurm(study, options.slurm);
  std::cout << options.slurm << "/submit.sh hands "
            << (elements == 0 ? "the table in: all jobs are done\n"
                              : str("in what is to do, ", elements, " of ", study.jobs.size(),
                                    " jobs, and the table\n"));
  return Exit::done;
}

Exit run_one(const Study& study, const MatrixOptions& options) {
  check(options.shard.empty(), "expected --shard or --job, got both");
  const Job& job = study.job(options.job);
  const bool before = study.done(job);
  switch (run_job(study, job, options.threads, options.steal)) {
    case JobEnd::done:
      if (before) std::cout << job.name << ": done already\n";
      return Exit::done;
    case JobEnd::interrupted:
      return Exit::interrupted;
    case JobEnd::held:
      break;
  }
  std::cout << options.job << ": another process is at work on it; where it is no more, --steal\n";
  return Exit::held;
}

Exit run_all(const MatrixOptions& options) {
  check(options.workers >= 1 && options.workers <= 1024, "workers: expected 1 .. 1024, got ",
        options.workers);
  const Shard shard = Shard::parse(options.shard);
  const Study study = find_study(options);
  if (!options.job.empty()) return run_one(study, options);
  const Exit exit = run_jobs(study, {.workers = options.workers,
                                     .shard = shard,
                                     .steal = options.steal,
                                     .wait = options.wait,
                                     .threads = options.threads});
  if (exit != Exit::done) return exit;
  check_plan(study);  // each job asked for the study that lay there then
  std::cout << "\n"
            << table_text(collect(study), "text")
            << "\nresults: " << (study.folder / "results.json").string() << "\n";
  return Exit::done;
}

Exit table(const MatrixOptions& options) {
  table_text({}, options.format);  // throws for another word
  const Study study = find_study(options);
  note_lost_runs(study);
  const Results results = collect(study);
  if (!is_kept(study.folder))
    std::cerr << "notice: " << study.folder.string()
              << " cannot be written: this table is not kept there as results.json\n";
  std::cout << table_text(results, options.format);
  return Exit::done;
}

// A flag that has no effect is a mistake: what it was to do would be missing.
void refuse_others_flags(const MatrixOptions& options, const Arguments& arguments) {
  struct Flag {
    const char* name;
    std::vector<std::string> actions;  // that take it
  };
  const Flag flags[] = {{"workers", {"run"}}, {"shard", {"plan", "run"}}, {"job", {"run"}},
                        {"steal", {"run"}},   {"wait", {"run"}},          {"slurm", {"plan"}},
                        {"steps", {"plan"}},  {"format", {"table"}}};
  const auto typed = [&](const char* name) { return arguments.typed.contains(name); };
  for (const auto& [name, actions] : flags)
    check(!typed(name) || std::ranges::find(actions, options.action) != actions.end(), "--", name,
          ": expected matrix ", actions.front(),
          actions.size() > 1 ? str(" or ", actions.back()) : "", ", which takes it, got matrix ",
          options.action);
  check(!typed("job") || !options.job.empty(), "job: expected a name, got none");
  check(!typed("slurm") || !options.slurm.empty(), "slurm: expected a folder, got none");
  constexpr std::pair<const char*, const char*> kOneOfTwo[] = {
      {"workers", "job"}, {"shard", "job"}, {"wait", "job"}, {"shard", "slurm"}};
  for (const auto& [flag, other] : kOneOfTwo)
    check(!typed(flag) || !typed(other), "expected --", flag, " or --", other, ", got both");
}

Exit run(MatrixOptions& options, const Arguments& arguments) {
  const std::vector<std::string> known = {"plan", "run", "table"};
  check(std::ranges::find(known, options.action) != known.end(),
        "expected plan, run or table, got \"", options.action, "\"",
        suggestion(options.action, known));
  refuse_others_flags(options, arguments);
  take_threads(options.threads);
  if (options.action == "plan") return plan(options);
  if (options.action == "run") return run_all(options);
  return table(options);
}

}  // namespace

Command matrix_command() {
  return make_command<MatrixOptions>(
      "matrix", "a study: teachers, students alone and distilled, in every split, and their table",
      "  decant matrix plan study.json --out night\n"
      "  decant matrix run night --workers 2\n"
      "  decant matrix run night --shard 1/4\n"
      "  decant matrix table night --format latex\n"
      "  decant matrix plan study.json --out night --slurm jobs\n"
      "study.json: {\"data\": DIR, \"splits\": "
      "\"kfold:5:test\", \"seeds\": [0],\n"
      "  \"train\": {\"epochs\": 100}, \"teacher\": {\"model\": \"unet/resnet18\"},\n"
      "  \"student\": {\"model\": \"thin_unet\"}, \"presets\": [\"L_KLD\", \"HReg_MSE\"],\n"
      "  \"axes\": {\"distill.spec.temperature\": {\"values\": [1, 4], \"presets\": "
      "[\"L_KLD\"]}}}\n"
      "What it leaves out is the paper's; relative paths begin at its folder. A study that was "
      "stopped, or killed, goes on with run.\n",
      run);
}

}  // namespace decant::apps
