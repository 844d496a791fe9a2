#include "apps/study/study.h"

#include <algorithm>
#include <optional>
#include <set>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "apps/study/job_lock.h"
#include "engine/core/rng.h"
#include "engine/io/atomic_file.h"
#include "nn/files/smp_folder.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMatrix = "matrix.json";
constexpr const char* kOrigin = "origin.json";
constexpr const char* kCells = "cells.json";

// What a study began with, as origin.json keeps it.
struct Origins {
  std::string program;
  std::string path;
  std::string layout;
  int64_t images = 0;
  std::string checksum;
  std::string splits;
  std::vector<std::string> names;
  Json init = Json::object();

  void visit(auto&& v) {
    v("program", program, "that began it");
    v("data.path", path, "of the data set");
    v("data.layout", layout, "of the data set");
    v("data.images", images, "in it");
    v("data.checksum", checksum, "of all images and masks");
    v("splits.origin", splits, "words they were made from");
    v("splits.names", names, "of their files");
    v("init", init, "files that networks begin with, and digests of them");
  }
};

void write_json(const fs::path& file, const Json& json) {
  write_file_atomically(file, json.dump(1) + "\n");
}

Json json_of(Matrix matrix) {
  return to_json(keys_of(matrix));
}

fs::path split_file_in(const fs::path& folder, const std::string& split) {
  return folder / "splits" / (split + ".json");
}

std::vector<Job> jobs_of(const Study& study) {
  const size_t seeds = study.matrix.seeds.size();
  const auto job_name = [&](const std::string& split, const MatrixCell& cell, const Json& seed) {
    const bool told = seeds > 1 && cell.role != Role::teacher;
    return split + "/" + cell.name + (told ? ".seed" + seed.dump() : "");
  };
  std::vector<Job> jobs;
  for (const Role role : {Role::teacher, Role::student, Role::distilled}) {
    for (const std::string& split : study.splits) {
      for (size_t c = 0; c < study.cells.size(); ++c) {
        const MatrixCell& cell = study.cells[c];
        if (cell.role != role) continue;
        const size_t count = role == Role::teacher ? 1 : seeds;
        for (size_t s = 0; s < count; ++s) {
          const Json& seed = study.matrix.seeds[s];
          jobs.push_back({.name = job_name(split, cell, seed),
                          .cell = c,
                          .split = split,
                          .seed = seed.get<uint64_t>(),
                          .needs = cell.teacher.empty() ? "" : split + "/" + cell.teacher});
        }
      }
    }
  }
  return jobs;
}

// Whether a job has begun to train, or is about to, or there are figures of some that did.
bool has_run(const Study& study) {
  for (const char* figures : {"results.json", "latency.json"})
    if (fs::exists(study.folder / figures)) return true;
  return std::ranges::any_of(study.jobs, [&](const Job& job) {
    return study.done(job) || fs::exists(study.run_folder(job) / "config.json") ||
           JobLock::holder(study.file(job, ".lock")).has_value();
  });
}

// `why` it stays as it is.
void check_same(const Study& begun, const Matrix& asked, const std::string& file, const char* why) {
  const auto found = differences(json_of(begun.matrix), json_of(asked));
  if (found.empty()) return;
  throw Error(str(file, ": ", found[0].key, ": expected ", found[0].mine, " as in the study in ",
                  begun.folder.string(), ", ", why, ", got ", found[0].other,
                  "; --out NEW begins another"));
}

// A study as it is asked for, which may be another than the one that has begun.
struct Asked {
  Matrix matrix;
  std::vector<MatrixCell> cells;
  data::Dataset dataset;
  Json init = Json::object();
  data::SplitSet splits = {};

  // What a study needs to begin, looked at once. Throws Error beginning with `file`, or naming
  // images.
  void look_at_files(const std::string& file) {
    if (!splits.folds.empty()) return;
    check_different(cells, file);
    data::require_masks(dataset);
    for (const MatrixCell& cell : cells) {
      const std::string& of = cell.config.init;
      if (!of.empty() && !init.contains(of)) init[of] = init_digest(of, str(file, ": ", cell.name));
    }
    splits = data::make_splits(dataset, matrix.splits, matrix.split_seed);
  }

  // What the file of one split holds.
  nlohmann::json split_file(size_t i) const {
    const std::string fold = splits.folds.size() > 1 ? str(" fold ", i) : "";
    return data::to_json(data::SplitSet{splits.origin + fold, {splits.folds[i]}});
  }
};

// A process that was killed as it began to train leaves what would be in the way of another plan.
void remove_beginnings(const fs::path& folder) {
  if (!fs::exists(folder / "runs")) return;
  std::vector<fs::path> runs;
  for (const auto& split : fs::directory_iterator(folder / "runs"))
    if (split.is_directory())
      for (const auto& run : fs::directory_iterator(split))
        if (run.is_directory()) runs.push_back(run.path());
  for (const fs::path& run : runs) RunFolder::remove_beginning(run);
}

// `before`: names of the splits of a study that is planned anew.
void write_beginning(const Asked& asked, const fs::path& folder,
                     const std::vector<std::string>& before) {
  remove_beginnings(folder);
  fs::remove(folder / kMatrix);  // from now on it is no study
  for (const std::string& split : before) fs::remove(split_file_in(folder, split));
  fs::create_directories(folder / "splits");
  Origins origins{.program = program_build(),
                  .path = asked.matrix.data,
                  .layout = asked.dataset.layout,
                  .images = static_cast<int64_t>(asked.dataset.samples.size()),
                  .checksum = checksum_of(asked.dataset),
                  .splits = asked.splits.origin,
                  .names = {},
                  .init = asked.init};
  for (size_t i = 0; i < asked.splits.folds.size(); ++i) {
    origins.names.push_back(str("split", i));
    write_json(split_file_in(folder, origins.names.back()), Json(asked.split_file(i)));
  }
  write_json(folder / kOrigin, to_json(keys_of(origins)));
  write_json(folder / kCells, to_json(asked.cells));
  write_json(folder / kMatrix, json_of(asked.matrix));  // last: from now on it is a study
}

// Whether the folds that are asked for are those of the study, which a file may name.
bool same_splits(const Study& study, const Asked& asked) {
  if (asked.splits.folds.size() != study.splits.size()) return false;
  for (size_t i = 0; i < study.splits.size(); ++i) {
    const fs::path file = study.split_file(study.splits[i]);
    if (!fs::exists(file) || nlohmann::json(read_json_file(file.string())) != asked.split_file(i))
      return false;
  }
  return true;
}

// What another plan than the one of the study would change, in words.
std::string changes_of(const Study& study, const Asked& asked) {
  std::vector<std::string> words;
  for (const Difference& found : differences(json_of(study.matrix), json_of(asked.matrix)))
    words.push_back(str(found.key, ": ", found.mine, ", now ", found.other));
  if (checksum_of(asked.dataset) != study.data.checksum)
    words.push_back(str("images: ", study.data.images, ", now ", asked.dataset.samples.size(),
                        " (other bytes)"));
  for (const auto& [init, digest] : asked.init.items())
    if (study.init.contains(init) && study.init[init] != digest)
      words.push_back(str("init: ", init, " (other bytes)"));
  if (study.program != program_build())
    words.push_back(str("program: decant ", study.program, ", now ", program_build()));
  if (words.empty() && to_json(asked.cells) != to_json(study.cells))
    words.push_back("what files that its settings name hold");
  if (words.empty() && !same_splits(study, asked))
    words.push_back(str("splits: ", Json(asked.matrix.splits).dump(), " (other images)"));
  std::string all;
  for (const std::string& each : words) all += (all.empty() ? "" : "; ") + each;
  return all;
}

void check_data(const Study& study, const data::Dataset& dataset) {
  const auto images = static_cast<int64_t>(dataset.samples.size());
  const std::string checksum = checksum_of(dataset);
  check(images == study.data.images && checksum == study.data.checksum, study.matrix.data,
        ": expected the ", study.data.images, " images and their masks that ",
        study.folder.string(), " began with (checksum ", study.data.checksum, "), got ", images,
        images == study.data.images ? " of other bytes" : "", " (checksum ", checksum, ")");
}

}  // namespace

std::string checksum_of(const data::Dataset& dataset) {
  data::Split all;
  all.train = dataset.ids();
  return hexadecimal(data_digest(dataset, all));
}

namespace {

// Two values that differ in one place; long texts from shortly before there.
Difference difference(const std::string& key, const Json& mine, const Json& other) {
  Difference found{key, shown_json(mine), shown_json(other)};
  if (found.mine != found.other || !mine.is_string() || !other.is_string()) return found;
  constexpr size_t kBefore = 16;
  const std::string a = mine.get<std::string>();
  const std::string b = other.get<std::string>();
  const auto apart = std::ranges::mismatch(a, b).in1 - a.begin();
  size_t from = static_cast<size_t>(apart) - std::min(static_cast<size_t>(apart), kBefore);
  while (from > 0 && (static_cast<unsigned char>(a[from]) & 0xc0) == 0x80) --from;  // in UTF-8
  return {key, shown_json("..." + a.substr(from)), shown_json("..." + b.substr(from))};
}

void add_differences(const std::string& key, const Json& mine, const Json& other,
                     std::vector<Difference>& into) {
  if (mine.is_object() && other.is_object()) {
    const std::string before = key.empty() ? "" : str(key, ".");
    for (const auto& [name, value] : mine.items()) {
      const auto found = other.find(name);
      if (found == other.end())
        into.push_back({before + name, shown_json(value), "none"});
      else
        add_differences(before + name, value, *found, into);
    }
    for (const auto& [name, value] : other.items())
      if (!mine.contains(name)) into.push_back({before + name, "none", shown_json(value)});
  } else if (mine.is_array() && other.is_array()) {
    for (size_t i = 0; i < std::max(mine.size(), other.size()); ++i) {
      const std::string element = str(key, "[", i, "]");
      if (i >= mine.size())
        into.push_back({element, "none", shown_json(other[i])});
      else if (i >= other.size())
        into.push_back({element, shown_json(mine[i]), "none"});
      else
        add_differences(element, mine[i], other[i], into);
    }
  } else if (mine != other) {
    into.push_back(difference(key, mine, other));
  }
}

}  // namespace

std::vector<Difference> differences(const Json& mine, const Json& other) {
  std::vector<Difference> found;
  add_differences("", mine, other, found);
  return found;
}

const Job& Study::job(const std::string& name) const {
  const auto found = std::ranges::find(jobs, name, &Job::name);
  if (found != jobs.end()) return *found;
  std::vector<std::string> names;
  for (const Job& each : jobs) names.push_back(each.name);
  throw Error(str("job: expected one of this study, got \"", name, "\"", suggestion(name, names)));
}

fs::path Study::file(const Job& job, const char* suffix) const {
  return run_folder(job).string() + suffix;
}

fs::path Study::split_file(const std::string& split) const {
  return split_file_in(folder, split);
}

data::Split Study::split_of(const Job& job, const data::Dataset& dataset) const {
  const std::string path = split_file(job.split).string();
  return data::splits_from_json(nlohmann::json(read_json_file(path)), dataset, path).fold(0);
}

TrainConfig Study::config_of(const Job& job) const {
  TrainConfig config = cell_of(job).config;
  config.seed = job.seed;
  config.data.split = fs::absolute(split_file(job.split)).lexically_normal().string();
  if (!job.needs.empty())
    config.distill.teacher =
        fs::absolute(run_folder(this->job(job.needs))).lexically_normal().string();
  return config;
}

std::string lost_runs_text(const Study& study) {
  constexpr size_t kNamed = 3;
  std::vector<const Job*> lost;
  for (const Job& job : study.jobs)
    if (study.done(job) && !study.has_network(job)) lost.push_back(&job);
  if (lost.empty()) return "";
  std::string names;
  for (size_t i = 0; i < std::min(kNamed, lost.size()); ++i)
    names += str(i == 0 ? "" : ", ", lost[i]->name);
  if (lost.size() > kNamed) names += str(" and ", lost.size() - kNamed, " more");
  return str("the networks of ", lost.size(), lost.size() == 1 ? " job" : " jobs", " are gone (",
             names, "): their figures stand, but nobody can verify, time or draw them; where ",
             study.file(*lost.front(), ".json").string(),
             " and what is left of its folder are removed, matrix run does that job again");
}

void check_teacher(const Study& study, const Job& job) {
  if (job.needs.empty()) return;
  const Job& teacher = study.job(job.needs);
  check(!study.done(teacher) || study.has_network(teacher), job.name,
        ": expected the network of its teacher in ", study.run_folder(teacher).string(),
        ", got none; where ", study.file(teacher, ".json").string(),
        " and what is left of its folder are removed, matrix run trains it again");
}

bool is_begun(const fs::path& folder) {
  return fs::exists(folder / kMatrix);
}

Study open_study(const fs::path& folder) {
  check(is_begun(folder), folder.string(), ": expected the folder of a study, got no ", kMatrix,
        " there; decant matrix plan FILE.json --out FOLDER begins one");
  Study study;
  study.folder = folder;
  const std::string file = (folder / kMatrix).string();
  study.matrix = read_matrix(file);
  const fs::path cells = folder / kCells;
  study.written_out = fs::exists(cells);
  study.cells = study.written_out ? cells_from_json(read_json_file(cells.string()), cells.string())
                                  : cells_of(study.matrix, file);
  Origins origins;
  const std::string origin = (folder / kOrigin).string();
  read_json(keys_of(origins), read_json_file(origin), origin);
  study.program = origins.program;
  study.data = {.path = origins.path,
                .layout = origins.layout,
                .images = origins.images,
                .checksum = origins.checksum};
  study.splits = origins.names;
  study.init = origins.init;
  study.jobs = jobs_of(study);
  return study;
}

namespace {

Matrix read_asked(const std::string& file) {
  Matrix matrix = read_matrix(file);
  matrix.data = fs::absolute(matrix.data).lexically_normal().string();
  return matrix;
}

}  // namespace

Study open_study_of(const std::string& file, const fs::path& folder) {
  Study study = open_study(folder);
  check_same(study, read_asked(file), file, "which plan and run alone begin anew");
  return study;
}

Study begin_study(const std::string& file, const fs::path& folder) {
  Asked asked{.matrix = read_asked(file), .cells = {}, .dataset = {}};
  // Throws for what makes no sense, before there is a folder.
  asked.cells = cells_of(asked.matrix, file);
  asked.dataset = data::open_dataset(asked.matrix.data, asked.matrix.layout);
  if (!is_begun(folder)) asked.look_at_files(file);
  fs::create_directories(folder);
  const FolderGuard guard(folder);  // another process may be about to begin it as well
  if (!is_begun(folder)) {
    asked.look_at_files(file);  // who planned it anew may have died over it
    write_beginning(asked, folder, {});
    return open_study(folder);
  }
  Study study = open_study(folder);
  if (has_run(study)) {
    check_same(study, asked.matrix, file, "of which jobs have run");
    check_data(study, asked.dataset);
    return study;
  }
  asked.look_at_files(file);
  const std::string changes = changes_of(study, asked);
  if (changes.empty()) return study;
  write_beginning(asked, folder, study.splits);
  study = open_study(folder);
  study.changes = changes;
  return study;
}

Study open_guarded(const fs::path& folder) {
  std::optional<FolderGuard> guard;
  if (FolderGuard::is_known(folder)) guard.emplace(folder);  // who plans makes it first
  return open_study(folder);
}

void check_plan(const Study& study) {
  const auto plan = [](const Study& of) {
    return Json({{"matrix", json_of(of.matrix)},
                 {"cells", to_json(of.cells)},
                 {"program", of.program},
                 {"images", of.data.checksum},
                 {"splits", of.splits},
                 {"init", of.init}});
  };
  const FolderGuard guard(study.folder);
  const auto found = differences(plan(study), plan(open_study(study.folder)));
  if (found.empty()) return;
  throw Error(str(study.folder.string(), ": expected the study that this process opened, got one ",
                  "that was planned anew meanwhile (", found[0].key, ": ", found[0].mine, ", now ",
                  found[0].other, ")"));
}

void check_data(const Study& study) {
  check_data(study, data::open_dataset(study.matrix.data, study.matrix.layout));
}

void check_init(const Study& study, std::span<const Job> jobs) {
  std::set<std::string> seen;
  for (const Job& job : jobs) {
    const std::string& init = study.cell_of(job).config.init;
    const bool begun = study.done(job) || fs::exists(study.run_folder(job) / "state.safetensors");
    if (init.empty() || begun || !seen.insert(init).second) continue;
    const uint64_t found = init_digest(init, job.name);
    const auto noted = study.init.find(init);
    check(noted == study.init.end() || *noted == found, job.name, ": init: expected ", init,
          " as it was when ", study.folder.string(), " began, got other bytes");
  }
}

uint64_t init_digest(const std::string& init, const std::string& where) {
  try {
    const fs::path weights = find_weights(init.substr(init.find('=') + 1));
    return fnv1a64(read_bytes(nn::is_smp_folder(weights) ? weights / nn::kSmpWeights : weights));
  } catch (const Error& error) {
    throw Error(str(where, ": init: ", error.what()));
  }
}

}  // namespace decant::apps
