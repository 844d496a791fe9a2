#include "apps/study/collect.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/device.h"
#include "apps/evaluate.h"
#include "apps/study/job.h"
#include "apps/study/job_lock.h"
#include "apps/study/scores.h"
#include "apps/study/statistics.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

// One value per image (or per split).
std::vector<double> values_by(const Scores& scores, std::string Measured::* half) {
  std::vector<double> values;
  for (const auto& [name, value] : means_by(scores, half)) values.push_back(value);
  return values;
}

Comparison compare(const Scores& mine, const Scores& other) {
  const std::vector<double> points = values_by(points_between(mine, other), &Measured::image);
  const Wilcoxon wilcoxon = wilcoxon_signed_rank(points);
  return {.points = mean_std(points).mean,
          .wilcoxon_p = wilcoxon.p,
          .wilcoxon_exact = points.empty() ? std::optional<bool>() : wilcoxon.exact,
          .ttest_p = paired_t_test(points).p,
          .ci95 = bootstrap_ci95(points),
          .effect_size = cohen_dz(points)};
}

void correct(const std::vector<TableRow*>& family, Comparison TableRow::* comparison,
             double Comparison::* raw, double Comparison::* corrected) {
  std::vector<double> p;
  for (const TableRow* row : family) p.push_back(row->*comparison.*raw);
  const std::vector<double> after = holm(p);
  for (size_t i = 0; i < family.size(); ++i) family[i]->*comparison.*corrected = after[i];
}

std::string teacher_of(const Results& results, const Cell& cell) {
  if (cell.teacher) return *cell.teacher;
  for (const Cell& other : results.cells)
    if (other.role == "teacher") return other.name;
  return "";
}

void merge(Results& into, Results&& one) {
  into.runs.push_back(std::move(one.runs[0]));
  for (const Cell& cell : into.cells)
    if (cell.name == one.cells[0].name) return;
  into.cells.push_back(std::move(one.cells[0]));
}

Json read_latencies(const fs::path& file) {
  Json known = fs::exists(file) ? read_json_file(file.string()) : Json::object();
  bool fits = known.is_object();
  for (const Json& machine : known) {
    fits = fits && machine.is_object();
    if (fits)
      for (const Json& time : machine) fits = fits && time.is_number();
  }
  check(fits, file.string(), ": expected {\"machine\": {\"cell\": milliseconds}}, got ",
        known.dump().substr(0, 60), "; where it is removed, times are measured again");
  return known;
}

// The first run of a cell that still has its checkpoint; "" without one.
fs::path timed_run(const Study& study, const Results& results, const Cell& cell) {
  for (const RunResult& run : results.runs)
    if (run.cell == cell.name && fs::exists(study.folder / run.folder / "best.safetensors"))
      return study.folder / run.folder;
  return {};
}

// latency.json holds for each machine and program what a cell's answer takes: times of another
// machine, or of a program with other kernels, are no times of this one. Where one is missing all
// are measured, in one go, so that they compare; not while a job of the study is at work.
void add_latencies(const Study& study, Results& results) {
  const fs::path file = study.folder / "latency.json";
  Json known = read_latencies(file);
  results.timed_on = machine_text();
  Json& here = known[str(*results.timed_on, ", decant ", program_build())];
  if (here.is_null()) here = Json::object();
  const auto is_missing = [&](const Cell& cell) {
    return !here.contains(cell.name) && !timed_run(study, results, cell).empty();
  };
  const auto is_held = [&](const Job& job) {
    return JobLock::holder(study.file(job, ".lock")).has_value();
  };
  if (std::ranges::any_of(results.cells, is_missing) && std::ranges::none_of(study.jobs, is_held)) {
    for (const Cell& cell : results.cells)
      if (const fs::path run = timed_run(study, results, cell); !run.empty())
        here[cell.name] = latency_ms(load_trained(run));
    write_file_atomically(file, known.dump(1) + "\n");
  }
  for (Cell& cell : results.cells) cell.latency_ms = here.value(cell.name, kNoFigure);
}

}  // namespace

std::vector<TableRow> table_of(const Results& results) {
  std::map<std::string, Scores> scores;
  for (const Cell& cell : results.cells) scores[cell.name] = dice_of(results, cell.name);
  std::vector<TableRow> table;
  for (const Cell& cell : results.cells) {
    const Scores& mine = scores[cell.name];
    const std::vector<double> images = values_by(mine, &Measured::image);
    const std::vector<double> splits = values_by(mine, &Measured::split);
    TableRow row{.cell = cell.name,
                 .dice_images_mean = mean_std(images).mean,
                 .dice_images_std = mean_std(images).std,
                 .dice_splits_mean = mean_std(splits).mean,
                 .dice_splits_std = mean_std(splits).std,
                 .n_images = static_cast<int64_t>(images.size()),
                 .n_splits = static_cast<int64_t>(splits.size())};
    std::set<std::string> parts;
    for (const RunResult& run : results.runs) {
      if (run.cell != cell.name) continue;
      parts.insert(run.part);
      row.chose_checkpoint = row.chose_checkpoint.value_or(false) || run.chose_checkpoint;
    }
    for (const std::string& part : parts) row.part = row.part ? *row.part + "+" + part : part;
    const std::string teacher = teacher_of(results, cell);
    if (teacher != cell.name) row.to_teacher = compare(mine, scores[teacher]);
    if (cell.student) row.to_student = compare(mine, scores[*cell.student]);
    table.push_back(row);
  }
  std::vector<TableRow*> family;
  for (size_t i = 0; i < table.size(); ++i)
    if (results.cells[i].role == "distilled") family.push_back(&table[i]);
  for (const auto comparison : {&TableRow::to_teacher, &TableRow::to_student}) {
    correct(family, comparison, &Comparison::wilcoxon_p, &Comparison::wilcoxon_p_holm);
    correct(family, comparison, &Comparison::ttest_p, &Comparison::ttest_p_holm);
  }
  return table;
}

Results collect(const Study& study) {
  Results results{.program = study.program,
                  .name = study.matrix.name,
                  .data = study.data,
                  .jobs = std::ssize(study.jobs),
                  .splits = study.splits};
  for (const Job& job : study.jobs) {
    if (!study.done(job)) continue;
    Results one = read_one_run(study.file(job, ".json").string());
    const MatrixCell& planned = study.cell_of(job);
    if (planned.student != planned.name) one.cells[0].student = planned.student;
    one.cells[0].jobs = std::ranges::count(study.jobs, job.cell, &Job::cell);
    if (const std::string programs = programs_of(study, job); !programs.empty())
      one.runs[0].program = programs;
    merge(results, std::move(one));
  }
  check(!results.runs.empty(), study.folder.string(),
        ": expected a study with jobs that are done, ", "got none; decant matrix run ",
        study.folder.string(), " does them");
  const FolderGuard guard = guard_study(study.folder);
  add_latencies(study, results);
  results.table = table_of(results);
  write_file_atomically(study.folder / "results.json", to_json(results).dump(1) + "\n");
  return results;
}

}  // namespace decant::apps
