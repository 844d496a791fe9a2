#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/console.h"
#include "apps/evaluate.h"
#include "apps/report.h"
#include "engine/core/parallel.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

struct PredictOptions {
  std::string run;
  std::vector<std::string> input;
  std::string out;
  int threads = 0;

  void visit(auto&& v) {
    v("run", run, "run folder or checkpoint", "run");
    v("input", input, "images, or folders of images", "--input");
    v("out", out, "folder for NAME_mask.png, NAME_probability.png, NAME_overlay.png", "--out");
    v("threads", threads, "0 takes what the machine has", "--threads");
  }
};

data::Image grey_of(const Tensor& probability) {
  data::Image image(static_cast<int>(probability.shape()[1]),
                    static_cast<int>(probability.shape()[0]), 1);
  const auto values = probability.values<float>();
  std::ranges::transform(values, image.pixels.begin(),
                         [](float p) { return static_cast<uint8_t>(std::lround(255 * p)); });
  return image;
}

// One name per image, also where several folders hold files of one name.
std::string unique_name(std::string name, std::set<std::string>& taken) {
  std::ranges::replace(name, '/', '_');
  std::string candidate = name;
  for (int i = 2; !taken.insert(candidate).second; ++i) candidate = str(name, "_", i);
  return candidate;
}

Exit run(PredictOptions& options, const Arguments&) {
  check(!options.run.empty(), "expected a run folder or a checkpoint, got none");
  check(!options.input.empty(), "input: expected images, got none (--input FILE_OR_DIR)");
  check(!options.out.empty(), "out: expected a folder, got none (--out DIR)");
  check(options.threads >= 0, "threads: expected 0 or more, got ", options.threads);
  if (options.threads > 0) set_num_threads(options.threads);
  const TrainedNetwork trained = load_trained(options.run);
  const Forward forward = forward_of(*trained.network);
  const auto channels = static_cast<int>(trained.network->spec().in_channels);

  std::vector<data::Dataset> inputs;
  for (const std::string& path : options.input) {
    inputs.push_back(data::open_images(path));
    for (const data::Sample& sample : inputs.back().samples)
      check(fs::weakly_canonical(sample.image.parent_path()) != fs::weakly_canonical(options.out),
            "out: expected another folder than the images', got ", options.out,
            "; a mask there could be overwritten");
  }
  std::error_code failed;
  fs::create_directories(options.out, failed);
  check(!failed && fs::is_directory(options.out), options.out,
        ": expected to make this folder, got ", failed ? failed.message() : "a file");

  Console console;
  std::set<std::string> taken;
  int64_t written = 0;
  for (const data::Dataset& input : inputs) {
    const EvaluationSet set(input, input.ids(), trained.notes.evaluation(), channels, 0);
    console.begin();
    for (int64_t i = 0; i < set.count(); ++i) {
      const EvaluationSet::Item item = set.load(i);
      const NoGrad no_grad;
      const Tensor probability =
          probability_at(lesion_probability(forward(Variable(item.image))), 0, item.size);
      data::Image mask = mask_of(probability);
      const double share = static_cast<double>(std::ranges::count(mask.pixels, uint8_t{1})) /
                           static_cast<double>(mask.pixels.size());
      const data::Image over = overlay(item.own, mask, kStudentColour);
      for (uint8_t& v : mask.pixels) v = static_cast<uint8_t>(255 * v);
      const fs::path stem = fs::path(options.out) / unique_name(set.id(i), taken);
      data::write_png(stem.string() + "_mask.png", mask);
      data::write_png(stem.string() + "_probability.png", grey_of(probability));
      data::write_png(stem.string() + "_overlay.png", over);
      ++written;
      console.line(str(stem.string(), "  lesion on ",
                       static_cast<double>(std::lround(1000 * share)) / 10, " % of the image"));
      console.progress(input.root.string(), i + 1, set.count());
    }
  }
  console.line(str(written, " images; for research, not for diagnosis"));
  return Exit::done;
}

}  // namespace

Command predict_command() {
  return make_command<PredictOptions>(
      "predict", "write mask, probability and overlay for images",
      "  decant predict runs/L_KLD --input scan.png --out masks\n"
      "  decant predict runs/L_KLD --input folder other/scan.png --out masks\n",
      run);
}

}  // namespace decant::apps
