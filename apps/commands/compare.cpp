#include <algorithm>
#include <filesystem>
#include <iostream>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "apps/selection.h"
#include "engine/core/parallel.h"
#include "engine/io/atomic_file.h"
#include "nn/summary.h"

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
    v("threads", threads, "0 takes what the machine has", "--threads");
  }
};

struct Row {
  std::string name;
  std::string network;
  data::MetricsReport report;
  std::string loss;   // supervised, of its training; "-" where no run folder tells
  std::string label;  // what the images were to it
  int size = 0;
  int64_t parameters = 0;
  int64_t macs = 0;
  double latency_ms = 0;
};

void print(const std::vector<Row>& rows, const Selection& selection, int64_t lesions) {
  std::cout << "Dice on the " << lesions << " images with a lesion of " << selection.ids.size()
            << " (" << selection.part << ": " << selection.label << ")\n";
  std::vector<std::vector<std::string>> table = {{"run", "network", "loss", "size",
                                                  "Dice mean +- std", "parameters", "MMACs",
                                                  "ms per image", "empty"}};
  for (const Row& row : rows)
    table.push_back(
        {row.name, row.network, row.loss, std::to_string(row.size),
         figure(row.report.lesions.dice.mean, 4) + " +- " + figure(row.report.lesions.dice.std, 4),
         std::to_string(row.parameters), rounded(static_cast<double>(row.macs) / 1e6, 1),
         rounded(row.latency_ms, 2),
         str(row.report.both_empty, "/", row.report.truth_empty_only, "/",
             row.report.prediction_empty_only)});
  std::cout << columns_text(table, 3);
  std::cout << "MMACs (millions of multiply-adds) and ms for one image of size x size, "
            << num_threads() << " threads\n"
            << "empty: images without a lesion in truth and prediction / truth only / prediction "
               "only\n";
  for (const Row& row : rows)
    if (row.label != selection.label) std::cout << "but " << row.name << ": " << row.label << "\n";
}

// Those that have a checkpoint: `runs/*` may hold one that has just begun. Anything else that is no
// run is an error, before hours of work.
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

Exit run(CompareOptions& options, const Arguments&) {
  check(!options.runs.empty(), "expected run folders or checkpoints, got none");
  require_writable(options.json);
  take_threads(options.threads);

  const std::vector<std::string> runs = finished_runs(options.runs);

  std::optional<data::Dataset> dataset;
  std::optional<Selection> first;
  std::vector<Row> rows;
  int64_t lesions = 0;
  for (const std::string& path : runs) {
    const TrainedNetwork trained = load_trained(path);
    const std::optional<Origin> origin = origin_of(trained.path);
    if (!dataset) dataset = open_data(options.data, options.layout, origin);
    const Selection selection = select_images(*dataset, trained, origin, options.split);
    if (!first) first = selection;
    check(std::ranges::is_permutation(selection.ids, first->ids), path, ": expected the images of ",
          runs.front(), " (", first->ids.size(), ", ", first->label, "), got ",
          selection.ids.size(), " others (", selection.label, "); --split all compares on all");
    EvaluationSet set(*dataset, selection.ids, trained);
    const data::MetricsReport report =
        evaluate(set, 8, forward_of(*trained.network), data::EmptyPolicy::one);
    const nn::Summary summary =
        nn::summarize(*trained.network, trained.notes.size, trained.notes.size);
    lesions = report.lesions.dice.count;
    std::filesystem::path name(path);
    if (!name.has_filename()) name = name.parent_path();  // "runs/teacher/"
    rows.push_back({.name = name.filename().string(),
                    .network = trained.network->spec().name(),
                    .report = report,
                    .loss = origin ? origin->config.loss : "-",
                    .label = selection.label,
                    .size = trained.notes.size,
                    .parameters = summary.parameters,
                    .macs = summary.macs,
                    .latency_ms = latency_ms(trained)});
  }
  print(rows, *first, lesions);
  if (!options.json.empty()) {
    Json json = {{"split", first->part}, {"label", first->label}, {"lesions", lesions}};
    for (const Row& row : rows)
      json["runs"].push_back({{"run", row.name},
                              {"network", row.network},
                              {"loss", row.loss},
                              {"size", row.size},
                              {"label", row.label},
                              {"dice_mean", row.report.lesions.dice.mean},
                              {"dice_std", row.report.lesions.dice.std},
                              {"both_empty", row.report.both_empty},
                              {"truth_empty_only", row.report.truth_empty_only},
                              {"prediction_empty_only", row.report.prediction_empty_only},
                              {"parameters", row.parameters},
                              {"macs", row.macs},
                              {"latency_ms", row.latency_ms}});
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
