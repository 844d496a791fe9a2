#include "apps/study/estimate.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include "apps/console.h"
#include "apps/study/job.h"
#include "apps/study/process.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

struct Timed {
  double seconds = 0;
  int64_t epochs = 0;
};

std::map<KindOfJob, Timed> of_finished_jobs(const Study& study) {
  std::map<KindOfJob, Timed> found;
  for (const Job& job : study.jobs) {
    const fs::path file = provenance_file(study, job);
    if (!study.done(job) || !fs::exists(file)) continue;
    const Json json = read_json_object(file.string());
    Timed& timed = found[kind_of(study, job)];
    timed.seconds += json.value("seconds", 0.0);
    timed.epochs += json.value("epochs_timed", int64_t{0});
  }
  return found;
}

// One measurement of `decant bench`, in seconds per step.
double bench(const std::string& what, const KindOfJob& kind, const TrainConfig& config,
             int64_t steps, int threads, const fs::path& scratch) {
  const fs::path json = scratch.string() + ".json";
  std::vector<std::string> words = {"bench",     what,
                                    "--model",   kind.network,
                                    "--size",    std::to_string(kind.size),
                                    "--batch",   std::to_string(kind.batch),
                                    "--steps",   std::to_string(steps),
                                    "--warmup",  "1",
                                    "--threads", std::to_string(threads),
                                    "--device",  config.device,
                                    "--json",    json.string()};
  if (config.device == "cuda") words.insert(words.end(), {"--precision", config.precision});
  if (what == "distill")
    words.insert(words.end(), {"--teacher", kind.teacher, "spec=" + config.distill.spec.dump()});
  const fs::path log = scratch.string() + ".log";
  const int code = wait_for_end(start_program(words, log));
  check(code == 0, "plan: expected to time ", kind.network, " at ", kind.size, " x ", kind.size,
        ", batch ", kind.batch, ", its process ended with ", code, ", see ", log.string());
  const Json found = read_json_file(json.string());
  const double step_ms = found.value("step_ms", found.value("graph_ms", 0.0));  // cpu, cuda
  fs::remove(json);
  fs::remove(log);
  return step_ms / 1e3;
}

EpochTime timed(const Study& study, const Job& job, int64_t steps, int threads) {
  const KindOfJob kind = kind_of(study, job);
  const TrainConfig& config = study.cell_of(job).config;
  const fs::path place = is_kept(study.folder) ? study.folder : fs::temp_directory_path();
  const fs::path scratch = place / str("timing.", ::getpid());
  const double step =
      bench(kind.teacher.empty() ? "train" : "distill", kind, config, steps, threads, scratch);
  const double answer = bench("infer", kind, config, steps, threads, scratch);
  const Json fold = read_json_file(study.split_file(job.split).string()).at("folds").at(0);
  const auto images = [&](const char* part) {
    return static_cast<double>(fold.at(part).size()) / static_cast<double>(kind.batch);
  };
  return {step * images("train") + answer * images("val"),
          str(steps, steps == 1 ? " step" : " steps")};
}

}  // namespace

std::string KindOfJob::text() const {
  return str(name_of(role), " ", network, teacher.empty() ? "" : " under " + teacher,
             distils.empty() ? "" : " by " + distils);
}

KindOfJob kind_of(const Study& study, const Job& job) {
  const MatrixCell& cell = study.cell_of(job);
  const TrainConfig& config = cell.config;
  KindOfJob kind{.role = cell.role,
                 .network = network_spec(config).name(),
                 .teacher = "",
                 .distils = "",
                 .device = config.device == "cuda" ? "cuda " + config.precision : config.device,
                 .size = config.data.size,
                 .batch = config.batch};
  if (cell.role != Role::distilled) return kind;
  for (const MatrixCell& other : study.cells)
    if (other.name == cell.teacher) kind.teacher = network_spec(other.config).name();
  const kd::DistillSpec spec = distill_spec(config);
  for (const kd::TermSpec& term : spec.terms)
    kind.distils += (kind.distils.empty() ? "" : " + ") + term.name();
  if (spec.teacher_view != kd::TeacherView::same) kind.distils += " of a view of its own";
  return kind;
}

std::map<KindOfJob, EpochTime> epoch_times(const Study& study, int64_t steps, int threads) {
  std::map<KindOfJob, EpochTime> times;
  for (const auto& [kind, timed] : of_finished_jobs(study))
    if (timed.epochs > 0)
      times[kind] = {timed.seconds / static_cast<double>(timed.epochs),
                     str(timed.epochs, " epochs of finished jobs")};
  if (steps == 0) return times;
  bool said = false;
  for (const Job& job : study.jobs) {
    if (study.done(job) || times.contains(kind_of(study, job))) continue;
    if (!std::exchange(said, true))
      Console().line(str("timing ", steps, steps == 1 ? " step" : " steps",
                         " of each kind of job; --steps 0 leaves that out"));
    times[kind_of(study, job)] = timed(study, job, steps, threads);
  }
  return times;
}

}  // namespace decant::apps
