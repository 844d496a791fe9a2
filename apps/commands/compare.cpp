#include <algorithm>
#include <iostream>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/measured_run.h"
#include "engine/core/parallel.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

struct CompareOptions {
  std::vector<std::string> runs;
  std::string data;
  std::string layout = "auto";
  std::string split;
  std::string json;
  int threads = 0;

  void visit(auto&& v) {
    v("runs", runs, "run folders or checkpoints", "runs");
    v("data", data, "data set; without, the first run's own", "--data");
    v("layout", layout, "auto, manifest, busi, udiat or folders", "--layout");
    v("split", split, "train, val, test or all; without, test where the runs have one, or val",
      "--split");
    v("json", json, "file to write the table to", "--json");
    v("threads", threads, "0 takes what this process may run on", "--threads");
  }
};

// Supervised, of its training; "-" where no run folder tells.
std::string loss_of(const MeasuredRun& run) {
  return run.origin ? run.origin->config.loss : "-";
}

void print(const std::vector<MeasuredRun>& runs) {
  const Selection& selection = runs.front().selection;
  std::cout << "Dice on the " << runs.back().metrics.lesions.dice.count
            << " images with a lesion of " << selection.ids.size() << " (" << selection.part << ": "
            << selection.label << ")\n";
  std::vector<std::vector<std::string>> table = {{"run", "network", "loss", "size",
                                                  "Dice mean +- std", "parameters", "MMACs",
                                                  "ms per image", "empty"}};
  for (const MeasuredRun& run : runs) {
    const data::Summary& dice = run.metrics.lesions.dice;
    table.push_back({run.name, run.network, loss_of(run), std::to_string(run.notes.size),
                     figure(dice.mean, 4) + " +- " + figure(dice.std, 4),
                     std::to_string(run.parameters),
                     rounded(static_cast<double>(run.macs) / 1e6, 1), rounded(run.latency_ms, 2),
                     str(run.metrics.both_empty, "/", run.metrics.truth_empty_only, "/",
                         run.metrics.prediction_empty_only)});
  }
  std::cout << columns_text(table, 3);
  std::cout << "MMACs (millions of multiply-adds) and ms for one image of size x size, "
            << num_threads() << " threads\n"
            << "empty: images without a lesion in truth and prediction / truth only / prediction "
               "only\n";
  for (const MeasuredRun& run : runs)
    if (run.selection.label != selection.label)
      std::cout << "but " << run.name << ": " << run.selection.label << "\n";
}

Exit run(CompareOptions& options, const Arguments&) {
  check(!options.runs.empty(), "expected run folders or checkpoints, got none");
  require_writable(options.json);
  take_threads(options.threads);
  const std::vector<MeasuredRun> runs =
      measure_runs(finished_runs(options.runs), {options.data, options.layout, options.split});
  print(runs);
  if (!options.json.empty()) {
    const Selection& first = runs.front().selection;
    Json json = {{"split", first.part},
                 {"label", first.label},
                 {"lesions", runs.back().metrics.lesions.dice.count}};
    for (const MeasuredRun& run : runs)
      json["runs"].push_back({{"run", run.name},
                              {"network", run.network},
                              {"loss", loss_of(run)},
                              {"size", run.notes.size},
                              {"label", run.selection.label},
                              {"dice_mean", run.metrics.lesions.dice.mean},
                              {"dice_std", run.metrics.lesions.dice.std},
                              {"both_empty", run.metrics.both_empty},
                              {"truth_empty_only", run.metrics.truth_empty_only},
                              {"prediction_empty_only", run.metrics.prediction_empty_only},
                              {"parameters", run.parameters},
                              {"macs", run.macs},
                              {"latency_ms", run.latency_ms}});
    write_file_atomically(options.json, json.dump(1) + "\n");
  }
  return Exit::done;
}

}  // namespace

Command compare_command() {
  return make_command<CompareOptions>(
      "compare", "several networks in one table: Dice, parameters, multiply-adds, latency",
      "  decant compare runs/teacher runs/student runs/L_KLD\n"
      "  decant compare runs/* --data DIR --split test --json table.json\n",
      run);
}

}  // namespace decant::apps
