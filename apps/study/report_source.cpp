#include "apps/study/report_source.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/run_folder.h"
#include "apps/study/cell.h"
#include "apps/study/collect.h"
#include "apps/study/study_view.h"
#include "engine/core/rng.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

// The texts of a run's folder; a checkpoint that lies alone has none.
RunFiles files_of(const fs::path& run) {
  RunFiles files;
  const fs::path folder = fs::is_directory(run) ? run : run.parent_path();
  if (fs::exists(folder / "metrics.csv")) files.curves = read_curves(folder / "metrics.csv");
  if (fs::exists(folder / "config.json"))
    files.config = read_json_file((folder / "config.json").string());
  const std::string beside = fs::absolute(folder / ".").lexically_normal().parent_path().string();
  if (fs::exists(beside + ".provenance.json"))
    files.provenance = read_json_object(beside + ".provenance.json");
  return files;
}

// Best, median and worst of the best network's first run, as it and its teacher see them.
Gallery gallery_of(const StudyView& view, const fs::path& folder, const MeasuredData& where) {
  const Cell& cell = *view.best;
  const RunResult& run = view.results.runs[view.runs_of(cell.name).front()];
  std::vector<std::pair<std::string, double>> dice;
  for (const ImageResult& image : run.images)
    if (image.lesion) dice.emplace_back(image.name, image.dice);
  fs::path teacher;
  const Cell* learned_from = view.teacher_of(cell);
  if (learned_from != nullptr)
    for (const size_t i : view.runs_of(learned_from->name))
      if (view.results.runs[i].split == run.split) teacher = folder / view.results.runs[i].folder;
  const fs::path student = folder / run.folder;
  const data::Dataset dataset =
      open_data(where.path, where.layout, origin_of(find_checkpoint(student)));
  Gallery gallery = draw_gallery(dataset, choose_images(std::move(dice)), student, teacher);
  gallery.student = cell.name;
  if (view.results.runs.size() > view.results.cells.size())
    gallery.student += str(", ", run.split, ", seed ", run.seed);
  if (!teacher.empty()) gallery.teacher = learned_from->name;
  return gallery;
}

// What lies in the folders beside the results.
void add_files(Report& report, const fs::path& folder, const MeasuredData& where) {
  size_t missing = 0;
  for (const RunResult& run : report.results.runs) {
    report.files.push_back(files_of(folder / run.folder));
    missing += report.files.back().curves.columns.empty() ? 1 : 0;
  }
  if (missing > 0)
    report.remarks.push_back(str("The learning curves of ", missing, " of ", report.files.size(),
                                 " runs are not shown: their folders hold no metrics.csv."));
  const StudyView view(report.results);
  if (view.best == nullptr) return;
  try {
    report.gallery = gallery_of(view, folder, where);
  } catch (const Error& error) {  // the figures stand without pictures
    report.remarks.push_back(str("There is no gallery: ", error.what()));
  }
}

Cell cell_of(const MeasuredRun& run) {
  Cell cell;
  cell.name = run.name;
  cell.role = "student";
  cell.network = run.network;
  cell.parameters = run.parameters;
  cell.macs = run.macs;
  cell.bytes_on_disk = static_cast<int64_t>(fs::file_size(run.checkpoint));
  cell.latency_ms = run.latency_ms;
  if (run.origin && is_distilling(run.origin->config)) {
    cell.role = "distilled";
    note_distillation(cell, run.origin->config);
  }
  return cell;
}

RunResult result_of(const MeasuredRun& run, const std::string& folder) {
  RunResult result{.cell = run.name,
                   .split = run.selection.part,
                   .seed = run.notes.seed,
                   .folder = folder,
                   .part = run.selection.part,
                   .chose_checkpoint = run.selection.chose,
                   .label = run.selection.label,
                   .epochs = run.notes.epoch,
                   .best_epoch = run.notes.epoch,
                   .images = {}};
  for (const data::ImageMetrics& m : run.metrics.images) result.images.push_back(image_result(m));
  return result;
}

// Run folders of one name in several places get a number.
void name_apart(std::vector<MeasuredRun>& runs) {
  std::set<std::string> taken;
  for (MeasuredRun& run : runs) {
    const std::string name = run.name;
    for (int i = 2; !taken.insert(run.name).second; ++i) run.name = str(name, " ", i);
  }
}

// Which of the runs taught which: a student notes the digest of its teacher's checkpoint.
void link_teachers(Results& results, const std::vector<MeasuredRun>& runs) {
  for (size_t t = 0; t < runs.size(); ++t) {
    const uint64_t digest = fnv1a64(read_bytes(runs[t].checkpoint));
    for (size_t s = 0; s < runs.size(); ++s)
      if (runs[s].notes.teacher_digest == digest) {
        results.cells[s].teacher = runs[t].name;
        results.cells[s].teacher_augment = runs[t].notes.augment;
        if (results.cells[t].role == "student") results.cells[t].role = "teacher";
      }
  }
}

// Which run is the student alone that another is compared with: a distilled one's has its network,
// size and split, and of several its seed; a teacher's is the first. Roles are known by now.
void link_students(Results& results, const std::vector<MeasuredRun>& runs) {
  const auto alike = [&](size_t a, size_t b) {
    const CheckpointNotes& mine = runs[a].notes;
    const CheckpointNotes& other = runs[b].notes;
    if (results.cells[a].role == "teacher") return 1;
    if (runs[a].network != runs[b].network || mine.size != other.size || mine.split != other.split)
      return 0;
    return mine.seed == other.seed ? 2 : 1;
  };
  for (size_t i = 0; i < runs.size(); ++i) {
    if (results.cells[i].role == "student") continue;
    int most = 0;
    for (size_t s = 0; s < runs.size(); ++s) {
      if (results.cells[s].role != "student" || alike(i, s) <= most) continue;
      most = alike(i, s);
      results.cells[i].student = runs[s].name;
    }
  }
}

// What the images were to the runs, a line for all that say the same.
std::vector<std::string> labels_of(const std::vector<MeasuredRun>& runs) {
  std::map<std::string, std::string> names;
  for (const MeasuredRun& run : runs) {
    std::string& of = names[run.selection.label];
    of += (of.empty() ? "" : ", ") + run.name;
  }
  std::vector<std::string> lines;
  for (const auto& [label, of] : names) lines.push_back(str(of, ": ", label, "."));
  return lines;
}

// Measures the teachers that are not among the runs, where they still lie where their students
// found them; what cannot be shown beside the runs is a remark. Returns where they lie.
std::vector<std::string> add_teachers(std::vector<MeasuredRun>& runs, const MeasuredData& data,
                                      std::vector<std::string>& remarks) {
  std::vector<std::string> found;
  std::set<fs::path> known;
  for (const MeasuredRun& run : runs) known.insert(fs::weakly_canonical(run.checkpoint));
  const size_t given = runs.size();
  for (size_t i = 0; i < given; ++i) {
    if (!runs[i].origin || !is_distilling(runs[i].origin->config)) continue;
    const std::string teacher = runs[i].origin->teacher;
    const fs::path checkpoint =
        fs::is_directory(teacher) ? fs::path(teacher) / "best.safetensors" : fs::path(teacher);
    if (!fs::exists(checkpoint) || !known.insert(fs::weakly_canonical(checkpoint)).second) continue;
    try {
      check(fnv1a64(read_bytes(checkpoint)) == runs[i].notes.teacher_digest, teacher,
            ": expected the checkpoint that ", runs[i].name, " learned from, got another by now");
      runs.push_back(measure_run(teacher, data, runs));
      found.push_back(teacher);
    } catch (const Error& error) {  // nobody has asked for it
      remarks.push_back(str("A teacher is left out: ", error.what()));
    }
  }
  return found;
}

// results.json is of the moment when somebody asked for the table.
void remark_newer_jobs(Report& report, const Study& study) {
  const auto done =
      std::ranges::count_if(study.jobs, [&](const Job& job) { return study.done(job); });
  const auto more = done - std::ssize(report.results.runs);
  if (more > 0)
    report.remarks.push_back(str("Since these results were collected ", more,
                                 " more jobs are done: decant matrix table collects them too."));
}

}  // namespace

bool is_study(const fs::path& path) {
  return fs::exists(path / "results.json") || path.filename() == "results.json" || is_begun(path);
}

Report report_of_study(const fs::path& path, const MeasuredData& data) {
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  std::optional<Study> study;
  if (is_begun(folder)) study = open_guarded(folder);
  // Where only figures were kept, without the records that they were made of, these stand.
  const bool only_figures =
      study && fs::exists(folder / "results.json") &&
      std::ranges::none_of(study->jobs, [&](const Job& job) { return study->done(job); });
  const bool collecting = study && folder == path && !only_figures;
  Report report{.results = collecting ? read_study(*study) : read_results(path)};
  check(!report.results.runs.empty(), path.string(), ": expected the results of runs, got none");
  if (!collecting && study) remark_newer_jobs(report, *study);
  add_files(report, folder, data);
  return report;
}

Report report_of_runs(const std::vector<std::string>& given, const MeasuredData& data) {
  Report report;
  std::vector<MeasuredRun> runs = measure_runs(given, data);
  const std::string name =
      given.size() == 1 ? runs[0].name : str("Comparison of ", given.size(), " runs");
  std::vector<std::string> paths = add_teachers(runs, data, report.remarks);
  paths.insert(paths.end(), given.begin(), given.end());
  std::ranges::rotate(runs, runs.begin() + std::ssize(given));  // teachers first
  name_apart(runs);
  Results& results = report.results;
  results.name = name;
  results.program = program_version();
  const MeasuredRun& first = runs[runs.size() - given.size()];
  results.splits = {first.selection.part};
  for (size_t i = 0; i < runs.size(); ++i) {
    results.cells.push_back(cell_of(runs[i]));
    results.runs.push_back(result_of(runs[i], paths[i]));
  }
  std::ranges::move(labels_of(runs), std::back_inserter(report.remarks));
  const std::optional<Origin>& origin = first.origin;
  results.data = {.path = !data.path.empty() ? data.path
                          : origin           ? origin->config.data.path
                                             : "",
                  .layout = data.layout,
                  .images = first.dataset_images,
                  .checksum = hexadecimal(first.notes.data_digest)};
  link_teachers(results, runs);
  link_students(results, runs);
  results.table = table_of(results);
  add_files(report, "", data);
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!report.files[i].curves.epochs.empty())
      results.runs[i].epochs = std::llround(report.files[i].curves.epochs.back());
    if (report.files[i].provenance.is_null())
      report.files[i].provenance = {{"checkpoint_digest", fnv1a64(read_bytes(runs[i].checkpoint))},
                                    {"teacher_digest", runs[i].notes.teacher_digest}};
  }
  return report;
}

}  // namespace decant::apps
