#include "apps/evaluate.h"

#include <iomanip>
#include <iostream>
#include <optional>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/config.h"
#include "apps/console.h"
#include "apps/device.h"
#include "apps/selection.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

struct EvaluateOptions {
  std::string run;
  std::string data;
  std::string layout = "auto";
  std::string split;
  std::string json;
  std::string empty_policy = "one";
  int64_t batch = 8;
  int threads = 0;
  std::string device = "cpu";
  std::string precision = "float32";

  void visit(auto&& v) {
    v("run", run, "run folder or checkpoint; compare takes several", "run");
    v("data", data, "data set; without, the run's own", "--data");
    v("layout", layout, "auto, manifest, busi, udiat or folders", "--layout");
    v("split", split, "train, val, test or all; without, test where the run has one, or val",
      "--split");
    v("json", json, "file to write all figures to", "--json");
    v("empty_policy", empty_policy, "Dice where truth and prediction are empty: one, nan or zero",
      "--empty-policy");
    v("batch", batch, "images at a time", "--batch");
    v("threads", threads, "0 takes what this process may run on", "--threads");
    v("device", device, kDeviceHelp, "--device");
    v("precision", precision, kPrecisionHelp, "--precision");
  }
};

void print_row(const char* name, const data::Summary& all, const data::Summary& lesions) {
  const auto figures = [](const data::Summary& s, int width) {
    std::cout << std::setw(width) << figure(s.mean, 4) << " +- " << std::setw(7) << figure(s.std, 4)
              << " (" << s.count << ")";
  };
  std::cout << "  " << std::left << std::setw(14) << name << std::right;
  figures(all, 9);
  figures(lesions, 12);
  std::cout << "\n";
}

void print(const data::MetricsReport& report, const Selection& selection,
           const TrainedNetwork& trained) {
  std::cout << trained.path.string() << ": " << trained.network->spec().name() << ", epoch "
            << trained.notes.epoch << "\n"
            << report.images.size() << " images (" << selection.part << "): " << selection.label
            << "\n  mean +- deviation over images (their number), each at its own size\n"
            << "                all images                  images with a lesion\n";
  const data::MetricsTable& a = report.all;
  const data::MetricsTable& l = report.lesions;
  print_row("Dice", a.dice, l.dice);
  print_row("IoU", a.iou, l.iou);
  print_row("sensitivity", a.sensitivity, l.sensitivity);
  print_row("specificity", a.specificity, l.specificity);
  print_row("precision", a.precision, l.precision);
  print_row("HD95 pooled", a.hd95_pooled, l.hd95_pooled);
  print_row("HD95 max", a.hd95_max, l.hd95_max);
  std::cout << "  empty: truth and prediction " << report.both_empty << ", truth only "
            << report.truth_empty_only << ", prediction only " << report.prediction_empty_only
            << " (policy " << data::name_of(report.policy) << ")\n";
}

Exit run(EvaluateOptions& options, const Arguments&) {
  check(!options.run.empty(), "expected a run folder or a checkpoint, got none");
  require_writable(options.json);
  check(options.batch > 0, "batch: expected at least 1, got ", options.batch);
  const data::EmptyPolicy policy = data::empty_policy_from(options.empty_policy);
  take_threads(options.threads);
  const Device device = use_device(options.device, options.precision);
  const TrainedNetwork trained = load_trained(options.run);
  nn::move_to(*trained.network, device);
  const std::optional<Origin> origin = origin_of(trained.path);
  const data::Dataset dataset = open_data(options.data, options.layout, origin);
  const Selection selection = select_images(dataset, trained, origin, options.split);
  EvaluationSet set(dataset, selection.ids, trained);
  const data::MetricsReport report =
      evaluate(set, options.batch, forward_of(*trained.network), policy);
  print(report, selection, trained);
  if (!options.json.empty()) {
    Json json = {{"checkpoint", trained.path.string()},
                 {"network", Json(nn::to_json(trained.network->spec()))},
                 {"epoch", trained.notes.epoch},
                 {"data", dataset.root.string()},
                 {"split", selection.part},
                 {"label", selection.label},
                 {"size", trained.notes.size}};
    json["metrics"] = Json(data::to_json(report));
    write_file_atomically(options.json, json.dump(1) + "\n");
  }
  return Exit::done;
}

}  // namespace

Command evaluate_command() {
  return make_command<EvaluateOptions>(
      "evaluate", "measure a trained network on images with masks",
      "  decant evaluate runs/L_KLD\n"
      "  decant evaluate runs/L_KLD --data DIR --split val --json metrics.json\n"
      "  decant evaluate best.safetensors --data DIR --empty-policy nan\n",
      run);
}

}  // namespace decant::apps
