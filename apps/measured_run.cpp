#include "apps/measured_run.h"

#include <algorithm>
#include <iostream>

#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "nn/summary.h"

namespace decant::apps {

std::vector<std::string> finished_runs(const std::vector<std::string>& paths) {
  std::vector<std::string> finished;
  for (const std::string& path : paths) {
    if (paths.size() > 1 && has_no_epoch(path)) {
      std::cout << "notice: " << path << " has finished no epoch and is left out\n";
      continue;
    }
    find_checkpoint(path);
    finished.push_back(path);
  }
  check(!finished.empty(), "expected a run that has finished an epoch, got ", paths.size(),
        " that have not");
  return finished;
}

MeasuredRun measure_run(const std::string& path, const MeasuredData& data,
                        std::span<const MeasuredRun> before) {
  const MeasuredRun* beside = before.empty() ? nullptr : before.data();
  const TrainedNetwork trained = load_trained(path);
  MeasuredRun run{.checkpoint = trained.path,
                  .origin = origin_of(trained.path),
                  .notes = trained.notes,
                  .network = trained.network->spec().name()};
  const data::Dataset dataset =
      open_data(data.path, data.layout, beside != nullptr ? beside->origin : run.origin);
  run.dataset_images = static_cast<int64_t>(dataset.samples.size());
  run.selection = select_images(dataset, trained, run.origin, data.part);
  if (beside != nullptr) {
    const Selection& first = beside->selection;
    check(std::ranges::is_permutation(run.selection.ids, first.ids), path,
          ": expected the images of ", beside->name, " (", first.ids.size(), ", ", first.label,
          "), got ", run.selection.ids.size(), " others (", run.selection.label,
          "); --split all compares on all");
  }
  EvaluationSet set(dataset, run.selection.ids, trained);
  run.metrics = evaluate(set, 8, forward_of(*trained.network), data::EmptyPolicy::one);
  const nn::Summary summary =
      nn::summarize(*trained.network, trained.notes.size, trained.notes.size);
  run.parameters = summary.parameters;
  run.macs = summary.macs;
  const auto same = std::ranges::find_if(before, [&](const MeasuredRun& other) {
    return other.network == run.network && other.notes.size == run.notes.size;
  });
  run.latency_ms = same == before.end() ? latency_ms(trained) : same->latency_ms;
  std::filesystem::path name(path);
  if (!name.has_filename()) name = name.parent_path();  // "runs/teacher/"
  run.name = name.filename().string();
  return run;
}

std::vector<MeasuredRun> measure_runs(const std::vector<std::string>& runs,
                                      const MeasuredData& data) {
  std::vector<MeasuredRun> measured;
  for (const std::string& path : runs) measured.push_back(measure_run(path, data, measured));
  return measured;
}

}  // namespace decant::apps
