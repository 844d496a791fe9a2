#include "apps/study/study.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "apps/command.h"
#include "apps/run_folder.h"
#include "apps/study/differences.h"
#include "apps/study/study_checks.h"
#include "engine/io/atomic_file.h"

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

// Why a study stays as it is: a job of it has begun to train, or is about to, or there are figures
// of some that did. "" where nothing of it has run.
std::string ran_text(const Study& study) {
  const auto because = [](const fs::path& found) {
    return str("of which jobs have run (", found.string(), ")");
  };
  for (const Job& job : study.jobs) {
    for (const fs::path& file : {study.file(job, ".json"), study.run_folder(job) / "config.json"})
      if (fs::exists(file)) return because(file);
    const fs::path lock = study.file(job, ".lock");
    if (JobLock::holder(lock)) return because(lock);
  }
  for (const char* figures : {"results.json", "latency.json"})
    if (fs::exists(study.folder / figures)) return because(study.folder / figures);
  return "";
}

Matrix read_asked(const std::string& file) {
  Matrix matrix = read_matrix(file);
  matrix.data = fs::absolute(matrix.data).lexically_normal().string();
  return matrix;
}

// A study as it is asked for, which may be another than the one that has begun.
struct Asked {
  Matrix matrix;
  std::vector<MatrixCell> cells;
  data::Dataset dataset;
  Json init = Json::object();
  data::SplitSet splits = {};  // without folds: nothing has been looked at yet

  // What a study needs to begin, looked at once. Throws Error beginning with `file`, or naming
  // images.
  void look_at_files(const std::string& file) {
    if (!splits.folds.empty()) return;
    check_different(cells, file);
    data::require_masks(dataset);
    for (const MatrixCell& cell : cells) {
      const std::string& of = cell.config.init;
      if (of.empty() || init.contains(of)) continue;
      init[of] = init_digest(of, str(file, ": ", cell.name));
      check_weights(of, str(file, ": ", cell.name));
    }
    try {
      splits = data::make_splits(dataset, matrix.splits, matrix.split_seed);
    } catch (const Error& error) {
      throw Error(str(file, ": ", error.what()));
    }
    constexpr size_t kMostSplits = 1000;  // of a file's folds; others are bounded as they are made
    check(splits.folds.size() <= kMostSplits, file, ": splits: expected at most ", kMostSplits,
          ", got ", splits.folds.size(), " in ", matrix.splits);
  }
};

// What the file of one split holds.
nlohmann::json split_file(const data::SplitSet& splits, size_t i) {
  const std::string fold = splits.folds.size() > 1 ? str(" fold ", i) : "";
  return data::to_json(data::SplitSet{splits.origin + fold, {splits.folds[i]}});
}

// Whether the folds that are asked for are those of the study, which a file may name.
bool same_splits(const Study& study, const data::SplitSet& asked) {
  if (asked.folds.size() != study.splits.size()) return false;
  for (size_t i = 0; i < study.splits.size(); ++i) {
    const fs::path file = study.split_file(study.splits[i]);
    if (!fs::exists(file) || nlohmann::json(read_json_file(file.string())) != split_file(asked, i))
      return false;
  }
  return true;
}

// Whether a study's file of splits lies elsewhere by now, with the same folds.
bool splits_moved(const Study& begun, const Matrix& asked) {
  if (!begun.matrix.splits.ends_with(".json") || !asked.splits.ends_with(".json")) return false;
  try {
    const data::Dataset dataset = data::open_dataset(asked.data, asked.layout);
    return same_splits(begun, data::make_splits(dataset, asked.splits, asked.split_seed));
  } catch (const Error&) {  // what cannot be read is not known to be the same
    return false;
  }
}

// `why` it stays as it is.
void check_same(const Study& begun, const Matrix& asked, const std::string& file,
                const std::string& why) {
  Matrix renamed = asked;
  renamed.name = begun.matrix.name;  // another name is no other study
  auto found = differences(json_of(begun.matrix), json_of(renamed));
  std::erase_if(found, [&](const Difference& difference) {
    return difference.key == "splits" && splits_moved(begun, asked);
  });
  if (found.empty()) return;
  throw Error(str(file, ": ", found[0].key, ": expected ", found[0].mine, " as in the study in ",
                  begun.folder.string(), ", ", why, ", got ", found[0].other,
                  "; --out NEW begins another"));
}

// A folder that holds something else stays alone: who names it has taken it for another.
void refuse_foreign(const fs::path& folder, const Matrix& asked) {
  if (!fs::exists(folder)) return;
  check(fs::is_directory(folder), "out: expected a folder for the study, got the file ",
        folder.string());
  std::error_code unknown;
  check(!fs::equivalent(folder, asked.data, unknown),
        "out: expected a folder of the study's own, got ", folder.string(),
        ", which holds its images");
  for (const char* found : {"images", "masks", "original", "GT", "manifest.csv", "best.safetensors",
                            "last.safetensors", "state.safetensors"})
    check(!fs::exists(folder / found), "out: expected a folder of the study's own, got ",
          folder.string(), ", which holds ", found);
}

// The study in `folder` that is asked for, before it is written.
Study planned(const Asked& asked, const fs::path& folder) {
  Study study;
  study.folder = folder;
  study.matrix = asked.matrix;
  study.cells = asked.cells;
  for (size_t i = 0; i < asked.splits.folds.size(); ++i) study.splits.push_back(str("split", i));
  study.jobs = jobs_of(study);
  return study;
}

// `before`: the study that lies there, which is planned anew.
void write_beginning(const Asked& asked, const fs::path& folder, const Study& before = {}) {
  const Study study = planned(asked, folder);
  // A process that was killed as it began to train leaves what is in the way of another plan.
  for (const Study* of : {&before, &study})
    for (const Job& job : of->jobs) RunFolder::remove_beginning(of->run_folder(job));
  fs::remove(folder / kMatrix);  // from now on it is no study
  for (const std::string& split : before.splits) fs::remove(before.split_file(split));
  fs::create_directories(folder / "splits");
  Origins origins{.program = program_build(),
                  .path = asked.matrix.data,
                  .layout = asked.dataset.layout,
                  .images = static_cast<int64_t>(asked.dataset.samples.size()),
                  .checksum = checksum_of(asked.dataset),
                  .splits = asked.splits.origin,
                  .names = study.splits,
                  .init = asked.init};
  for (size_t i = 0; i < study.splits.size(); ++i)
    write_json(study.split_file(study.splits[i]), Json(split_file(asked.splits, i)));
  write_json(folder / kOrigin, to_json(keys_of(origins)));
  write_json(folder / kCells, to_json(asked.cells));
  write_json(folder / kMatrix, json_of(asked.matrix));  // last: from now on it is a study
}

// What another plan than the one of the study would change, in words.
std::string changes_of(const Study& study, const Asked& asked) {
  std::vector<std::string> words;
  std::vector<Difference> places = differences(json_of(study.matrix), json_of(asked.matrix));
  std::ranges::stable_partition(places, [](const Difference& d) { return d.key != "name"; });
  for (const Difference& found : places)
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
  if (words.empty() && !same_splits(study, asked.splits))
    words.push_back(str("splits: ", Json(asked.matrix.splits).dump(), " (other images)"));
  std::string all;
  for (const std::string& each : words) all += (all.empty() ? "" : "; ") + each;
  return all;
}

}  // namespace

Json json_of(Matrix matrix) {
  return to_json(keys_of(matrix));
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
  return folder / "splits" / (split + ".json");
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

Study open_study_of(const std::string& file, const fs::path& folder) {
  Study study = open_guarded(folder);
  const std::string ran = ran_text(study);
  check_same(study, read_asked(file), file,
             ran.empty() ? "which plan and run alone begin anew" : ran);
  return study;
}

Study begin_study(const std::string& file, const fs::path& folder) {
  Asked asked{.matrix = read_asked(file), .cells = {}, .dataset = {}};
  // Throws for what makes no sense, before there is a folder.
  asked.cells = cells_of(asked.matrix, file);
  if (!is_begun(folder)) refuse_foreign(folder, asked.matrix);
  asked.dataset = data::open_dataset(asked.matrix.data, asked.matrix.layout);
  if (!is_begun(folder)) asked.look_at_files(file);
  fs::create_directories(folder);
  const FolderGuard guard = guard_study(folder);  // another may be about to begin it as well
  if (!is_begun(folder)) {
    asked.look_at_files(file);  // who planned it anew may have died over it
    write_beginning(asked, folder);
    return open_study(folder);
  }
  Study study = open_study(folder);
  if (const std::string ran = ran_text(study); !ran.empty()) {
    check_same(study, asked.matrix, file, ran);
    check_data(study, asked.dataset);
    return study;
  }
  asked.look_at_files(file);
  const std::string changes = changes_of(study, asked);
  if (changes.empty()) return study;
  write_beginning(asked, folder, study);
  study = open_study(folder);
  study.changes = changes;
  return study;
}

bool is_kept(const fs::path& folder) {
  return ::faccessat(AT_FDCWD, folder.c_str(), W_OK, AT_EACCESS) == 0;
}

FolderGuard guard_study(const fs::path& folder) {
  return FolderGuard(folder, "plans it anew, or times its networks");
}

Study open_guarded(const fs::path& folder) {
  // Who plans makes it first, and plans nothing where nobody can write.
  if (!FolderGuard::is_known(folder) || !is_kept(folder)) return open_study(folder);
  const FolderGuard guard = guard_study(folder);
  return open_study(folder);
}

}  // namespace decant::apps
