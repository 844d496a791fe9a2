#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "apps/options.h"
#include "data/metrics.h"

namespace decant::apps {

/// A figure that does not exist; null in JSON.
inline constexpr double kNoFigure = std::numeric_limits<double>::quiet_NaN();

/// What a study leaves: every network's Dice on every image, and the table that follows from them.
/// Dice is in [0, 1], differences are in points (hundredths of it). The file results.json of the
/// schema "decant-results-1" has the names of the members below.

/// The images that the study read.
struct StudyData {
  std::string path;
  std::string layout;
  int64_t images = 0;
  std::string checksum;  ///< of all files of images and masks, as hexadecimal digits

  void visit(auto&& v) {
    v("path", path);
    v("layout", layout);
    v("images", images);
    v("checksum", checksum);
  }
};

/// One row of the study: a network and how it learns, in every split.
struct Cell {
  std::string name;
  std::string role;  ///< teacher, student (alone) or distilled
  std::string network;
  int64_t parameters = 0;
  int64_t macs = 0;  ///< multiply-adds for one image
  int64_t bytes_on_disk = 0;
  double latency_ms = kNoFigure;            ///< median for one image
  std::optional<std::string> teacher = {};  ///< the name of its cell
  /// The cell it is compared with: the same network alone, from the same seed in the same split; of
  /// a teacher the study's first student; none of a student alone.
  std::optional<std::string> student = {};
  std::optional<std::string> preset = {};
  std::optional<std::string> pathway =
      {};                                ///< logits, hidden or regressor, where there is one term
  std::optional<std::string> loss = {};  ///< mse or kld, where there is one term
  std::optional<std::string> teacher_augment = {};
  std::optional<int64_t> jobs = {};  ///< of the study that are runs of it, done or not

  void visit(auto&& v) {
    v("name", name);
    v("role", role);
    v("network", network);
    v("parameters", parameters);
    v("macs", macs);
    v("bytes_on_disk", bytes_on_disk);
    v("latency_ms", latency_ms);
    v("teacher", teacher);
    v("student", student);
    v("preset", preset);
    v("pathway", pathway);
    v("loss", loss);
    v("teacher_augment", teacher_augment);
    v("jobs", jobs);
  }
};

/// What one trained network reached on one image, at the image's own size (data/metrics.h).
struct ImageResult {
  std::string name;
  bool lesion = false;  ///< whether the truth is not empty
  double dice = kNoFigure;
  double iou = kNoFigure;
  double sensitivity = kNoFigure;
  double specificity = kNoFigure;
  double precision = kNoFigure;
  double hd95_pooled = kNoFigure;
  double hd95_max = kNoFigure;

  void visit(auto&& v) {
    v("name", name);
    v("lesion", lesion);
    v("dice", dice);
    v("iou", iou);
    v("sensitivity", sensitivity);
    v("specificity", specificity);
    v("precision", precision);
    v("hd95_pooled", hd95_pooled);
    v("hd95_max", hd95_max);
  }
};

ImageResult image_result(const data::ImageMetrics& measured);

/// One trained network: a cell in one split, from one seed.
struct RunResult {
  std::string cell;
  std::string split;
  uint64_t seed = 0;
  std::string folder;            ///< relative to the study's
  std::string part;              ///< of the split: test, or val where there is no test part
  bool chose_checkpoint = true;  ///< whether these images chose it: expect less on new ones
  std::optional<std::string> label = {};  ///< Selection::label: what they were to it
  int64_t epochs = 0;
  int64_t best_epoch = 0;
  std::optional<std::string> program = {};  ///< that trained it: program_build(), of several all
  std::vector<ImageResult> images = {};

  void visit(auto&& v) {
    v("cell", cell);
    v("split", split);
    v("seed", seed);
    v("folder", folder);
    v("part", part);
    v("chose_checkpoint", chose_checkpoint);
    v("label", label);
    v("epochs", epochs);
    v("best_epoch", best_epoch);
    v("program", program);
    v("images", images);
  }
};

/// One cell against another on the images that both were tested on (apps/study/statistics.h).
struct Comparison {
  double points = kNoFigure;  ///< 100 * the mean difference of Dice
  double wilcoxon_p = kNoFigure;
  std::optional<bool> wilcoxon_exact = {};  ///< false: by the normal approximation
  double wilcoxon_p_holm = kNoFigure;
  double ttest_p = kNoFigure;
  double ttest_p_holm = kNoFigure;
  std::array<double, 2> ci95 = {kNoFigure, kNoFigure};  ///< of `points`
  double effect_size = kNoFigure;                       ///< Cohen's d_z
};

struct TableRow {
  std::string cell;
  double dice_images_mean = kNoFigure;
  double dice_images_std = kNoFigure;
  double dice_splits_mean = kNoFigure;
  double dice_splits_std = kNoFigure;
  int64_t n_images = 0;
  int64_t n_splits = 0;
  std::optional<int64_t> n_seeds = {};  ///< of its runs
  /// The standard deviation from seed to seed of a split's mean, pooled over splits; none where no
  /// split was trained from several.
  std::optional<double> dice_seeds_std = {};
  std::optional<std::string> part = {};       ///< of its runs: "test", "val"; of several "test+val"
  std::optional<bool> chose_checkpoint = {};  ///< whether images of any of them did
  Comparison to_teacher = {};  ///< a distilled cell's own; otherwise the study's first
  Comparison to_student = {};  ///< that learns alone

  void visit(auto&& v) {
    v("cell", cell);
    v("dice_images_mean", dice_images_mean);
    v("dice_images_std", dice_images_std);
    v("dice_splits_mean", dice_splits_mean);
    v("dice_splits_std", dice_splits_std);
    v("n_images", n_images);
    v("n_splits", n_splits);
    v("n_seeds", n_seeds);
    v("dice_seeds_std", dice_seeds_std);
    v("part", part);
    v("chose_checkpoint", chose_checkpoint);
    v("to_teacher_points", to_teacher.points);
    v("to_student_points", to_student.points);
    v("wilcoxon_p", to_student.wilcoxon_p);
    v("wilcoxon_exact", to_student.wilcoxon_exact);
    v("wilcoxon_p_holm", to_student.wilcoxon_p_holm);
    v("ttest_p", to_student.ttest_p);
    v("ttest_p_holm", to_student.ttest_p_holm);
    v("ci95", to_student.ci95);
    v("effect_size", to_student.effect_size);
    v("teacher_wilcoxon_p", to_teacher.wilcoxon_p);
    v("teacher_wilcoxon_exact", to_teacher.wilcoxon_exact);
    v("teacher_wilcoxon_p_holm", to_teacher.wilcoxon_p_holm);
    v("teacher_ttest_p", to_teacher.ttest_p);
    v("teacher_ttest_p_holm", to_teacher.ttest_p_holm);
    v("teacher_ci95", to_teacher.ci95);
    v("teacher_effect_size", to_teacher.effect_size);
  }
};

struct Results {
  std::string program;  ///< that began the study; of single runs the one that measured them
  std::string name;
  StudyData data;
  std::optional<std::string> timed_on = {};  ///< machine_text() of where latencies were measured
  std::optional<int64_t> jobs = {};          ///< of the study; those that are done are `runs`
  std::vector<std::string> splits = {};
  std::vector<Cell> cells = {};
  std::vector<RunResult> runs = {};
  std::vector<TableRow> table = {};  ///< one row for each cell that has runs

  void visit(auto&& v) {
    v("program", program);
    v("name", name);
    v("data", data);
    v("timed_on", timed_on);
    v("jobs", jobs);
    v("splits", splits);
    v("cells", cells);
    v("runs", runs);
    v("table", table);
  }

  /// Throws Error naming the nearest cell.
  const Cell& cell(const std::string& wanted) const;
};

/// One line where not all runs are of the program that began the study, "" otherwise: figures of
/// several builds stand beside each other then.
std::string several_programs(const Results& results);

/// One line on where an answer's time was measured, "" where that was not noted.
std::string timed_text(const Results& results);

/// One line where the cells of a study have no time of an answer, "" where all have one.
std::string untimed_text(const Results& results);

/// Whether some cell was trained from several seeds.
bool has_seeds(const Results& results);

/// What the rows of the table are compared with, by name: "to teacher is against teacher_strong";
/// "" without a comparison.
std::string references_text(const Results& results);

/// The cell that `to_teacher` of a row is against: its own teacher, or the study's first one; ""
/// without any.
std::string reference_teacher(const Results& results, const Cell& cell);

/// "5 of 12 jobs done"; "" where the results are of no study, or of before it was noted.
std::string jobs_text(const Results& results);

Json to_json(const Results& results);

/// Reads what to_json writes. What may be null may also be missing, as in files of before it was
/// noted. Throws Error that begins with `where` (a file's name) and names the key, as in
/// "runs[3].images[0].dice": missing, not known, of another kind, or a run or row of a cell or
/// split that is not listed, an image with a lesion and without a Dice.
Results results_from_json(const Json& json, const std::string& where);

/// Reads what a study keeps beside a run, "L_KLD.json". Throws Error naming it where it is anything
/// else than the results of one run.
Results read_one_run(const std::string& file);

/// Reads results.json: the file itself, or in the folder of a study. Throws Error naming it.
Results read_results(const std::filesystem::path& path);

}  // namespace decant::apps
