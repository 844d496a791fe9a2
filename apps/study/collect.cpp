#include "apps/study/collect.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
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

// How a split's mean differs from seed to seed, over splits that were trained from several.
std::optional<double> spread_over_seeds(const Results& results, const std::string& cell) {
  std::map<std::string, std::vector<double>> means;  // by split
  for (const RunResult& run : results.runs) {
    if (run.cell != cell) continue;
    std::vector<double> dice;
    for (const ImageResult& image : run.images)
      if (image.lesion) dice.push_back(image.dice);
    if (!dice.empty()) means[run.split].push_back(mean_std(dice).mean);
  }
  double squares = 0;
  double freedom = 0;
  for (const auto& [split, of_seeds] : means) {
    if (of_seeds.size() < 2) continue;
    const auto own = static_cast<double>(of_seeds.size()) - 1;
    squares += own * mean_std(of_seeds).std * mean_std(of_seeds).std;
    freedom += own;
  }
  return freedom > 0 ? std::optional(std::sqrt(squares / freedom)) : std::nullopt;
}

void merge(Results& into, Results&& one) {
  into.runs.push_back(std::move(one.runs[0]));
  for (const Cell& cell : into.cells)
    if (cell.name == one.cells[0].name) return;
  into.cells.push_back(std::move(one.cells[0]));
}

// What is no such file (cut as a disk was full, say) is as none: times are measured again.
Json read_latencies(const fs::path& file) {
  Json known;
  try {
    if (fs::exists(file)) known = read_json_file(file.string());
  } catch (const Error&) {
  }
  bool fits = known.is_object();
  for (const Json& machine : known) {
    fits = fits && machine.is_object();
    for (const Json& time : machine) fits = fits && time.is_number();
  }
  return fits ? known : Json::object();
}

// A network and the size of its images, which are what an answer takes its time for.
std::string network_of(const Study& study, const Cell& cell) {
  const auto planned = std::ranges::find(study.cells, cell.name, &MatrixCell::name);
  return str(cell.network, " at ", planned == study.cells.end() ? 0 : planned->config.data.size);
}

// The first run of a network that still has its checkpoint; "" without one.
fs::path timed_run(const Study& study, const Results& results, const std::string& network) {
  for (const RunResult& run : results.runs)
    if (network_of(study, results.cell(run.cell)) == network &&
        fs::exists(study.folder / run.folder / "best.safetensors"))
      return study.folder / run.folder;
  return {};
}

// What an answer of each network takes, as far as it is known, and on which machine.
struct Times {
  std::map<std::string, double> of;
  std::optional<std::string> on;
};

fs::path latency_file(const Study& study) {
  return study.folder / "latency.json";
}

// Times of another machine, or of a program with other kernels, are no times of this one.
std::string this_program_here() {
  return str(machine_text(), ", decant ", program_build());
}

// latency.json holds the times of each machine and program. Where one is missing all are measured,
// in one go, so that they compare; not while a job of the study is at work. Cells of one network
// have one time: what two measurements of it differ by is no difference of the cells.
void measure_latencies(const Study& study, const Results& results) {
  Json known = read_latencies(latency_file(study));
  Json& here = known[this_program_here()];
  if (here.is_null()) here = Json::object();
  std::map<std::string, fs::path> runs;  // by network
  for (const Cell& cell : results.cells) {
    const std::string network = network_of(study, cell);
    if (const fs::path run = timed_run(study, results, network); !run.empty()) runs[network] = run;
  }
  const auto is_missing = [&](const auto& timed) { return !here.contains(timed.first); };
  const auto is_held = [&](const Job& job) {
    return JobLock::holder(study.file(job, ".lock")).has_value();
  };
  if (std::ranges::none_of(runs, is_missing) || std::ranges::any_of(study.jobs, is_held)) return;
  for (const auto& [network, run] : runs) here[network] = latency_ms(load_trained(run));
  write_file_atomically(latency_file(study), known.dump(1) + "\n");
}

// Those of latency.json.
Times times_here(const Study& study) {
  const Json known = read_latencies(latency_file(study));
  return {known.value(this_program_here(), Json::object()).get<std::map<std::string, double>>(),
          machine_text()};
}

// Those of results.json.
Times kept_times(const Study& study) {
  Times times;
  try {
    if (!fs::exists(study.folder / "results.json")) return times;
    const Results kept = read_results(study.folder);
    times.on = kept.timed_on;
    for (const Cell& cell : kept.cells)
      if (std::isfinite(cell.latency_ms)) times.of[network_of(study, cell)] = cell.latency_ms;
  } catch (const Error&) {  // one that was cut has none
  }
  return times;
}

// The times of this machine and program, or where one would be lost that results.json has, all of
// those: what stands beside each other was measured in one place.
void note_latencies(const Study& study, Results& results) {
  const Times here = times_here(study);
  const Times kept = kept_times(study);
  const bool would_lose = std::ranges::any_of(results.cells, [&](const Cell& cell) {
    const std::string network = network_of(study, cell);
    return kept.of.contains(network) && !here.of.contains(network);
  });
  const Times& times = would_lose ? kept : here;
  results.timed_on = times.on;
  for (Cell& cell : results.cells) {
    const auto time = times.of.find(network_of(study, cell));
    cell.latency_ms = time == times.of.end() ? kNoFigure : time->second;
  }
}

// Cells and runs of the jobs that are done.
Results done_of(const Study& study) {
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
  return results;
}

Results finished(const Study& study, Results results) {
  note_latencies(study, results);
  results.table = table_of(results);
  return results;
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
    row.dice_seeds_std = spread_over_seeds(results, cell.name);
    std::set<uint64_t> seeds;
    std::set<std::string> parts;
    for (const RunResult& run : results.runs) {
      if (run.cell != cell.name) continue;
      parts.insert(run.part);
      seeds.insert(run.seed);
      row.chose_checkpoint = row.chose_checkpoint.value_or(false) || run.chose_checkpoint;
    }
    for (const std::string& part : parts) row.part = row.part ? *row.part + "+" + part : part;
    if (!seeds.empty()) row.n_seeds = std::ssize(seeds);
    const std::string teacher = reference_teacher(results, cell);
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

Results read_study(const Study& study) {
  return finished(study, done_of(study));
}

Results collect(const Study& study) {
  if (!is_kept(study.folder)) return read_study(study);
  Results results = done_of(study);
  const FolderGuard guard = guard_study(study.folder);
  measure_latencies(study, results);
  results = finished(study, std::move(results));
  write_file_atomically(study.folder / "results.json", to_json(results).dump(1) + "\n");
  return results;
}

}  // namespace decant::apps
