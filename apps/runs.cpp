#include "apps/runs.h"

#include <algorithm>
#include <iterator>

#include "apps/trainer.h"

namespace decant::apps {
namespace {

Exit exit_of(Outcome outcome) {
  return outcome == Outcome::finished ? Exit::done : Exit::interrupted;
}

constexpr std::string_view kMayChange[] = {"resume",         "threads",        "device",
                                           "step_graph",     "data.path",      "data.augment_on",
                                           "data.device_mb", "distill.teacher"};

// A manifest that is not read, for one, is not what a run should find out last.
void note_remarks(const data::Dataset& dataset, Console& console) {
  if (dataset.remarks.empty()) return;
  const data::Remark& first = dataset.remarks.front();
  const size_t more = dataset.remarks.size() - 1;
  console.line(str("notice: ", first.file.string(), ": ", first.what,
                   more == 0 ? "" : str("; and ", more, " more, which check-data tells")));
}

Exit resume(const RunOptions& options, const Arguments& arguments) {
  for (const std::string& key : arguments.given)
    check(std::ranges::find(kMayChange, key) != std::end(kMayChange),
          "resume: expected the run's own settings to stand, got ", key,
          "; only the places of data and teacher, threads, device, step_graph, data.augment_on and "
          "data.device_mb may change");
  RunFolder folder = RunFolder::open(options.resume);
  Console console;
  if (folder.progress().finished) {
    console.line(str(folder.path().string(), ": finished after ", folder.progress().epoch,
                     " epochs, nothing to do"));
    return Exit::done;
  }
  TrainConfig config;
  read_json(keys_of(config), folder.config(), (folder.path() / "config.json").string());
  if (arguments.given.contains("device")) config.device = options.config.device;
  config.step_graph = options.config.step_graph;
  config.data.augment_on = options.config.data.augment_on;
  config.data.device_mb = options.config.data.device_mb;
  // Folders may have moved: what lies in them must be what the last commit names.
  if (!options.config.data.path.empty()) config.data.path = options.config.data.path;
  if (!options.config.distill.teacher.empty() && is_distilling(config))
    config.distill.teacher = options.config.distill.teacher;
  if (folder.committed()) config.init.clear();  // the weights come from the state
  config = resolve(config, is_distilling(config));
  data::Dataset dataset = data::open_dataset(config.data.path, config.data.layout);
  const data::SplitSet splits = data::splits_from_json(nlohmann::json(folder.split()), dataset,
                                                       (folder.path() / "split.json").string());
  Trainer trainer(config, std::move(dataset), splits, console);
  std::vector<std::string> header;
  if (!folder.committed()) {
    console.line(str(folder.path().string(), ": nothing was saved, starting over"));
    header = trainer.header();
  }
  return exit_of(trainer.run(folder, header));
}

}  // namespace

void RunOptions::write_out(const Arguments& arguments) {
  DistillConfig& distill = config.distill;
  check(!arguments.typed.contains("distill.preset") || !distill.spec.is_object() ||
            !distill.spec.contains("terms"),
        "distill.preset: expected a preset or a spec with terms, got ", distill.preset,
        " beside terms that would stand instead of its own");
  if (!distill.preset.empty()) distill.spec = spec_in_full(distill);
  if (!config.model.is_null()) write_learning_rate(config);
}

Exit run_training(RunOptions& options, const Arguments& arguments, bool distilling) {
  take_threads(options.config.threads);
  check(options.out.empty() || options.resume.empty(),
        "expected --out or --resume, got both; a run goes on in its own folder");
  if (!options.resume.empty()) return resume(options, arguments);
  check(!options.out.empty(), "out: expected a folder for the run, got none (--out DIR)");
  const TrainConfig config = resolve(options.config, distilling);
  check(config.device == "cuda" || config.precision == "float32",
        "precision: expected float32, the only one on the cpu, got ", config.precision);
  RunFolder::require_free(options.out);

  data::Dataset dataset = data::open_dataset(config.data.path, config.data.layout);
  data::require_masks(dataset);
  const data::SplitSet all = data::make_splits(dataset, config.data.split, config.data.split_seed);
  data::SplitSet splits{all.origin, {all.fold(config.data.fold)}};
  if (all.folds.size() > 1) splits.origin += str(" fold ", config.data.fold);
  Console console;
  note_remarks(dataset, console);
  Trainer trainer(config, std::move(dataset), splits, console);
  const std::vector<std::string> header = trainer.header();
  RunFolder folder = RunFolder::create(options.out, run_json(config), Json(data::to_json(splits)));
  try {
    return exit_of(trainer.run(folder, header));
  } catch (...) {
    folder.take_back();
    throw;
  }
}

}  // namespace decant::apps
