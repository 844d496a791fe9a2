#include "apps/study/job.h"

#include <unistd.h>

#include <chrono>

#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "apps/runs.h"
#include "apps/selection.h"
#include "apps/study/cell.h"
#include "apps/study/differences.h"
#include "apps/study/job_lock.h"
#include "apps/study/study_checks.h"
#include "engine/core/parallel.h"
#include "engine/io/atomic_file.h"
#include "nn/summary.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

// Epochs done by now; 0 where the run has not begun.
int64_t epochs_of(const fs::path& run) {
  return fs::exists(run / "config.json") ? RunFolder::open(run).progress().epoch : 0;
}

void check_equal(const fs::path& file, const Json& asked, const Json& here, const Job& job) {
  const std::vector<Difference> found = differences(asked, here);
  if (found.empty()) return;
  throw Error(str(file.string(), ": ", found[0].key, ": expected ", found[0].mine,
                  " as in the study's job ", job.name, ", got ", found[0].other,
                  "; where the folder is removed, the job begins anew"));
}

// The images of a split's file, without the words on where they come from.
Json folds_of(const fs::path& split) {
  return {{"folds", read_json_object(split.string()).value("folds", Json())}};
}

// A run goes on with the settings and the images in its own folder: they must be those that its job
// has, but for where things lie. Throws Error naming the first that is not.
void check_settings(const Study& study, const Job& job) {
  check(study.written_out || study.program == program_build(), study.folder.string(),
        ": expected a study whose settings are written out (cells.json), got one that decant ",
        study.program, " began: defaults of decant ", program_build(),
        " may be others; --out NEW begins it anew");
  const fs::path file = study.run_folder(job) / "config.json";
  if (!fs::exists(file)) return;
  const auto settings = [](Json json) {
    for (const char* place : {"path", "split"}) json["data"].erase(place);
    json["distill"].erase("teacher");
    return json;
  };
  const bool distilling = study.cell_of(job).role == Role::distilled;
  check_equal(file, settings(run_json(resolve(study.config_of(job), distilling))),
              settings(read_json_file(file.string())), job);
  const fs::path split = study.run_folder(job) / "split.json";
  check_equal(split, folds_of(study.split_file(job.split)), folds_of(split), job);
}

Exit train(const Study& study, const Job& job, int threads) {
  RunOptions options;
  options.config = study.config_of(job);
  options.config.threads = threads;
  const fs::path run = study.run_folder(job);
  (fs::exists(run / "config.json") ? options.resume : options.out) = run.string();
  return run_training(options, {}, study.cell_of(job).role == Role::distilled);
}

Cell describe(const Study& study, const Job& job, const TrainedNetwork& trained) {
  const MatrixCell& of = study.cell_of(job);
  const nn::Summary summary =
      nn::summarize(*trained.network, trained.notes.size, trained.notes.size);
  Cell cell{.name = of.name,
            .role = name_of(of.role),
            .network = trained.network->spec().name(),
            .parameters = summary.parameters,
            .macs = summary.macs,
            .bytes_on_disk = static_cast<int64_t>(fs::file_size(trained.path))};
  if (of.student != of.name) cell.student = of.student;
  if (of.role != Role::distilled) return cell;
  cell.teacher = of.teacher;
  note_distillation(cell, of.config);
  for (const MatrixCell& teacher : study.cells)
    if (teacher.name == of.teacher) cell.teacher_augment = augment_name(teacher.config);
  return cell;
}

RunResult result_of(const Study& study, const Job& job, const TrainedNetwork& trained) {
  const data::Dataset dataset = data::open_dataset(study.matrix.data, study.matrix.layout);
  const data::Split split = study.split_of(job, dataset);
  const std::string part = measured_part(split);
  RunResult result{.cell = study.cell_of(job).name,
                   .split = job.split,
                   .seed = job.seed,
                   .folder = "runs/" + job.name,
                   .part = part,
                   .chose_checkpoint = part == "val",
                   .label = label_of_part(part),
                   .epochs = epochs_of(study.run_folder(job)),
                   .best_epoch = trained.notes.epoch};
  for (const data::ImageMetrics& m : measure(trained, dataset, split.part(part)).images)
    result.images.push_back(image_result(m));
  return result;
}

void write_provenance(const Study& study, const Job& job, const Json& json) {
  write_file_atomically(provenance_file(study, job), json.dump(1) + "\n");
}

// Notes that this program trains the job, beside those that did before where it goes on with a run.
void note_program(const Study& study, const Job& job) {
  const bool begun = fs::exists(study.run_folder(job) / "config.json");
  std::string programs = begun ? programs_of(study, job) : "";
  if (!programs.ends_with(program_build()))
    programs += (programs.empty() ? "" : ", then ") + program_build();
  write_provenance(study, job, {{"program", programs}});
}

// Of the file of weights that the run began with; 0 where there was none.
Json noted_init_digest(const Study& study, const Job& job) {
  const std::string& init = study.cell_of(job).config.init;
  if (init.empty()) return 0;
  const auto noted = study.init.find(init);
  return noted != study.init.end() ? *noted : Json(init_digest(init, job.name));
}

// What else the result depends on, and what it took; config.json and split.json are in the run.
void note_rest(const Study& study, const Job& job, const TrainedNetwork& trained, double seconds,
               int64_t epochs) {
  write_provenance(study, job,
                   {{"program", programs_of(study, job)},
                    {"arithmetic", RunFolder::open(study.run_folder(job)).progress().arithmetic},
                    {"host", Owner::self().host},
                    {"threads", num_threads()},
                    {"data_checksum", study.data.checksum},
                    {"data_digest", trained.notes.data_digest},
                    {"init_digest", noted_init_digest(study, job)},
                    {"teacher_digest", trained.notes.teacher_digest},
                    {"checkpoint_digest", fnv1a64(read_bytes(trained.path))},
                    {"epochs_timed", epochs},
                    {"seconds", seconds}});
}

void write_results(const Study& study, const Job& job, const TrainedNetwork& trained) {
  Results results{.program = program_version(),
                  .name = study.matrix.name,
                  .data = study.data,
                  .splits = {job.split},
                  .cells = {describe(study, job, trained)},
                  .runs = {result_of(study, job, trained)}};
  write_file_atomically(study.file(job, ".json"), to_json(results).dump(1) + "\n");
}

}  // namespace

fs::path provenance_file(const Study& study, const Job& job) {
  return study.file(job, ".provenance.json");
}

std::string programs_of(const Study& study, const Job& job) {
  const fs::path file = provenance_file(study, job);
  return fs::exists(file) ? read_json_object(file.string()).value("program", "") : "";
}

const char* measured_part(const data::Split& split) {
  return split.test.empty() ? "val" : "test";
}

data::MetricsReport measure(const TrainedNetwork& trained, const data::Dataset& dataset,
                            const std::vector<std::string>& ids) {
  constexpr int64_t kBatch = 8;
  EvaluationSet set(dataset, ids, trained);
  return evaluate(set, kBatch, forward_of(*trained.network), data::EmptyPolicy::one);
}

JobEnd run_job(const Study& study, const Job& job, int threads, bool steal) {
  fs::create_directories(study.run_folder(job).parent_path());
  const std::optional<JobLock> lock = JobLock::take(study.file(job, ".lock"), steal);
  if (!lock) return JobEnd::held;
  if (study.done(job)) return JobEnd::done;  // by another process, a moment ago
  check_plan(study);
  check(job.needs.empty() || study.done(study.job(job.needs)), job.name, ": expected its teacher ",
        job.needs, " to be done, it is not");
  check_teacher(study, job);
  check_settings(study, job);
  check_data(study);
  check_init(study, {&job, 1});
  note_program(study, job);
  const auto start = std::chrono::steady_clock::now();
  const int64_t before = epochs_of(study.run_folder(job));
  if (train(study, job, threads) == Exit::interrupted) return JobEnd::interrupted;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const TrainedNetwork trained = load_trained(study.run_folder(job));
  note_rest(study, job, trained, took.count(), epochs_of(study.run_folder(job)) - before);
  write_results(study, job, trained);  // last: from now on the job is done
  return JobEnd::done;
}

}  // namespace decant::apps
