#include <algorithm>
#include <cmath>
#include <iostream>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/console.h"
#include "apps/device.h"
#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "apps/selection.h"
#include "apps/study/job.h"
#include "apps/study/results.h"
#include "apps/study/study_checks.h"
#include "nn/losses.h"

namespace decant::apps {
namespace {

struct VerifyOptions {
  std::string run;
  std::string data;
  double tolerance = 0.005;
  int threads = 0;

  void visit(auto&& v) {
    v("run", run, "run folder", "run");
    v("data", data, "data set; without, where the run found it", "--data");
    v("tolerance", tolerance, "largest difference of a figure that is none; 0: to the bit",
      "--tolerance");
    v("threads", threads, "0 takes what this process may run on", "--threads");
  }
};

// Prints what was recorded beside what is found, and remembers whether all agree.
class Verdict {
 public:
  explicit Verdict(double tolerance) : tolerance_(tolerance) {}

  /// `recorded` as it is made, 0 or "", where nothing was. `file`: whose it is, of one.
  template <class T>
  void digest(const std::string& what, const T& recorded, const T& found,
              const std::string& file = "") {
    if (recorded == T{}) return missing(what);
    say(recorded == found, what,
        recorded == found ? "as recorded"
                          : str("other bytes than recorded", file.empty() ? "" : ", in ", file));
  }

  void figure(const std::string& what, double recorded, double found) {
    const double off = std::fabs(found - recorded);
    const bool both_undefined = std::isnan(recorded) && std::isnan(found);
    say(both_undefined || off <= tolerance_, what,
        both_undefined ? "none, as recorded"
        : off == 0     ? str(rounded(found, 6), ", to the bit")
                   : str("recorded ", apps::figure(recorded, 6), ", got ", apps::figure(found, 6)));
  }

  /// `off`: how far figures are from what was recorded; NaN where one of them is no number.
  void distance(const std::string& what, double off) {
    say(off <= tolerance_, what, off == 0 ? "none" : apps::figure(off, 6));
  }

  void say(bool agrees, const std::string& what, const std::string& words) {
    std::cout << (agrees ? "ok    " : "DIFFERS  ") << what << ": " << words << "\n";
    (agrees ? agree_ : differ_) += 1;
  }

  void missing(const std::string& what) {
    std::cout << "-     " << what << ": not recorded\n";
    missing_ += 1;
  }

  /// In words, at the end. What was not recorded verifies nothing, and is no difference.
  Exit exit() const {
    const bool verified = differ_ == 0 && agree_ > 0;
    std::cout << (verified ? "verified: " : "NOT verified: ") << agree_ << " of "
              << agree_ + differ_ + missing_ << " agree";
    if (missing_ == 0)
      std::cout << " with what was recorded\n";
    else
      std::cout << ", " << missing_ << (missing_ == 1 ? " was" : " were") << " not recorded\n";
    return verified ? Exit::done : Exit::check_failed;
  }

 private:
  double tolerance_;
  int agree_ = 0;
  int differ_ = 0;
  int missing_ = 0;
};

void verify_validation(Verdict& verdict, const TrainedNetwork& trained, const TrainConfig& config,
                       const data::Dataset& dataset, const data::Split& split) {
  EvaluationSet set(dataset, split.val, trained);
  const Validation found =
      validate(set, config.batch, forward_of(*trained.network),
               [&](const Variable& logits, const Tensor& masks) {
                 return nn::supervised_loss(logits, {.labels = masks}, {.name = config.loss});
               });
  verdict.digest("images that chose the checkpoint", trained.notes.val_digest, found.digest);
  verdict.figure("val_loss", trained.notes.val_loss, found.loss);
  verdict.figure("val_dice", trained.notes.val_dice, found.dice);
}

// The figures image by image that a study keeps beside its run, where it is one of a study.
void verify_study(Verdict& verdict, const TrainedNetwork& trained, const std::string& results_file,
                  const data::Dataset& dataset) {
  const RunResult recorded = read_one_run(results_file).runs[0];
  std::vector<std::string> ids;
  for (const ImageResult& image : recorded.images) ids.push_back(image.name);
  if (ids.empty()) return verdict.missing(str("Dice on images of ", recorded.part));
  const data::MetricsReport found = measure(trained, dataset, ids);
  double largest = 0;
  double sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const double off = std::fabs(found.images[i].dice - recorded.images[i].dice);
    if (!(off <= largest)) largest = off;  // one that is no number is the largest
    sum += recorded.images[i].dice;
  }
  verdict.figure(str("Dice on the ", ids.size(), " images of ", recorded.part),
                 sum / static_cast<double>(ids.size()), found.all.dice.mean);
  verdict.distance("largest difference of an image's Dice", largest);
}

Exit run(VerifyOptions& options, const Arguments&) {
  namespace fs = std::filesystem;
  check(!options.run.empty(), "expected a run folder, got none");
  check(options.tolerance >= 0, "tolerance: expected 0 or more, got ", options.tolerance);
  take_threads(options.threads);
  const TrainedNetwork trained = load_trained(options.run);
  const std::optional<Origin> origin = origin_of(trained.path);
  check(origin.has_value(), options.run,
        ": expected a run folder, got a checkpoint outside of one");
  const data::Dataset dataset = open_data(options.data, "auto", origin);
  const data::Split split = data::splits_from_json(nlohmann::json(origin->split), dataset).fold(0);

  Verdict verdict(options.tolerance);
  verdict.digest("files of images and masks", trained.notes.data_digest,
                 data_digest(dataset, split));
  const std::string& teacher = origin->teacher;
  std::error_code missing;
  if (!teacher.empty() && teacher != origin->config.distill.teacher &&
      !fs::equivalent(teacher, origin->config.distill.teacher, missing))
    std::cout << "notice: the study lies elsewhere than when it ran; its own teacher is meant, "
              << teacher << "\n";
  if (!teacher.empty() && fs::exists(teacher))
    verdict.digest("teacher's checkpoint", trained.notes.teacher_digest,
                   fnv1a64(read_bytes(find_checkpoint(teacher))),
                   find_checkpoint(teacher).string());
  else if (!teacher.empty())
    std::cout << "notice: the teacher " << teacher << " is not there and was not compared\n";
  verify_validation(verdict, trained, origin->config, dataset, split);
  const fs::path folder = fs::absolute(trained.path).lexically_normal().parent_path();
  const std::string provenance = folder.string() + ".provenance.json";
  if (fs::exists(provenance)) {
    const Json recorded = read_json_object(provenance);
    verdict.digest("checkpoint", recorded.value("checkpoint_digest", uint64_t{0}),
                   fnv1a64(read_bytes(trained.path)), trained.path.string());
    verdict.digest("files of all images and masks, tested ones too",
                   recorded.value("data_checksum", std::string()), checksum_of(dataset));
  }
  if (fs::exists(provenance) && fs::exists(folder.string() + ".json"))
    verify_study(verdict, trained, folder.string() + ".json", dataset);
  return verdict.exit();
}

}  // namespace

Command verify_command() {
  return make_command<VerifyOptions>("verify",
                                     "evaluate a run again and compare with what it recorded",
                                     "  decant verify runs/L_KLD\n"
                                     "  decant verify night/runs/split0/L_KLD --tolerance 0\n",
                                     run);
}

}  // namespace decant::apps
