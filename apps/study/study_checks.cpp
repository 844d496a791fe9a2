#include "apps/study/study_checks.h"

#include <algorithm>
#include <set>

#include "apps/console.h"
#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "apps/study/differences.h"
#include "engine/core/rng.h"
#include "nn/files/smp_folder.h"
#include "nn/files/tensor_file.h"

namespace decant::apps {

namespace fs = std::filesystem;

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

void check_plan(const Study& study) {
  const auto plan = [](const Study& of) {
    return Json({{"matrix", json_of(of.matrix)},
                 {"cells", to_json(of.cells)},
                 {"program", of.program},
                 {"images", of.data.checksum},
                 {"splits", of.splits},
                 {"init", of.init}});
  };
  const FolderGuard guard = guard_study(study.folder);
  const auto found = differences(plan(study), plan(open_study(study.folder)));
  if (found.empty()) return;
  throw Error(str(study.folder.string(), ": expected the study that this process opened, got one ",
                  "that was planned anew meanwhile (", found[0].key, ": ", found[0].mine, ", now ",
                  found[0].other, ")"));
}

void check_data(const Study& study) {
  check_data(study, data::open_dataset(study.matrix.data, study.matrix.layout));
}

void check_data(const Study& study, const data::Dataset& dataset) {
  const auto images = static_cast<int64_t>(dataset.samples.size());
  const std::string checksum = checksum_of(dataset);
  check(images == study.data.images && checksum == study.data.checksum, study.matrix.data,
        ": expected the ", study.data.images, " images and their masks that ",
        study.folder.string(), " began with (checksum ", study.data.checksum, "), got ", images,
        images == study.data.images ? " of other bytes" : "", " (checksum ", checksum, ")");
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

namespace {

// The file that `init` names, as `read` takes it.
auto of_weights(const std::string& init, const std::string& where, auto read) {
  try {
    const fs::path weights = find_weights(init.substr(init.find('=') + 1));
    return read(nn::is_smp_folder(weights) ? weights / nn::kSmpWeights : weights);
  } catch (const Error& error) {
    throw Error(str(where, ": init: ", error.what()));
  }
}

}  // namespace

uint64_t init_digest(const std::string& init, const std::string& where) {
  return of_weights(init, where,
                    [](const fs::path& weights) { return fnv1a64(read_bytes(weights)); });
}

void check_weights(const std::string& init, const std::string& where) {
  of_weights(init, where, [](const fs::path& weights) { nn::read_tensors(weights); });
}

std::string checksum_of(const data::Dataset& dataset) {
  data::Split all;
  all.train = dataset.ids();
  return hexadecimal(data_digest(dataset, all));
}

}  // namespace decant::apps
