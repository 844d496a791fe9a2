#pragma once

#include <string>
#include <vector>

#include "apps/config.h"

namespace decant::apps {

/// A study as data: what trains on what, in how many splits. Settings are those of `decant train`
/// and `distill` by their own names; what nobody sets is the paper's (paper_settings()).
struct Matrix {
  std::string name;
  std::string data;
  std::string layout = "auto";
  std::string splits = "random:3:0.6:0.2";
  uint64_t split_seed = 0;
  Json seeds = {0};
  Json train = Json::object();
  Json teacher = {{"model", "unet/resnext101_32x8d"}};
  Json student = {{"model", "linknet/mobilenet_v3_small_075"}};
  Json presets = nullptr;  ///< null: all twelve
  Json axes = Json::object();

  void visit(auto&& v) {
    v("name", name, "of the study; by default the file's");
    v("data", data, "folder or CSV file with images and masks; paths begin at the file's folder");
    v("layout", layout, "auto, manifest, busi, udiat or folders");
    v("splits", splits, "as --split of train, all of its splits, at most 1000");
    v("split_seed", split_seed, "of the splits");
    v("seeds", seeds, "of the students; teachers take the first");
    v("train", train, "settings of all networks");
    v("teacher", teacher, "settings of the teachers");
    v("student", student, "settings of the students, alone and distilled");
    v("presets", presets, "distilled cells: names, or {name, preset, spec}");
    v("axes", axes, "KEY: [values], or KEY: {values, presets}; every combination is a cell");
  }
};

/// The paper's training: 224 x 224, Adam 1e-4, batch 64, 500 epochs, stop after 50 without a better
/// validation loss, which also chooses the checkpoint; cross-entropy; the augmentation `strong`,
/// which mirrors nothing. What it does not tell
/// (schedule: constant) is in apps/README.md.
TrainConfig paper_settings();

/// Reads a study; `name` becomes the file's where it has none, and what `data`, `splits`, `init`,
/// `augment` and `model` name of other files becomes absolute: a relative path begins at the folder
/// of the study's file, wherever somebody stands who runs it. Throws Error naming file and key.
Matrix read_matrix(const std::string& file);

enum class Role { teacher, student, distilled };
const char* name_of(Role role);

/// A network of the study and how it learns, whatever the split and seed.
struct MatrixCell {
  std::string name;  ///< "teacher_strong", "student", "L_KLD.temperature=4"
  Role role;
  std::string teacher;  ///< the cell it learns from; "" of others
  std::string student;  ///< the cell of the same network alone: a teacher's is the first, a
                        ///< student's itself
  TrainConfig config;   ///< without split and seed; resolved
};

/// Cells as a study keeps them from its beginning, every setting written out: a later program with
/// other defaults trains what is left as it was begun.
Json to_json(const std::vector<MatrixCell>& cells);
/// Throws Error beginning with `where`.
std::vector<MatrixCell> cells_from_json(const Json& json, const std::string& where);

/// Teachers that some cell needs first, then students alone, then distilled ones. Axes that begin
/// with "distill.", or name presets, multiply those cells only; others the student alone as well.
/// Throws Error beginning with `where`: an unknown key, preset or value, an axis without values or
/// with two that are equal (4 and 4.0), a combination that makes no sense, a setting that the study
/// decides by a key of its own.
std::vector<MatrixCell> cells_of(const Matrix& matrix, const std::string& where);

/// Throws Error beginning with `where` and naming two cells that train the same under two names:
/// they take the time twice and count twice in Holm's correction. A study is asked this before it
/// begins; one that has begun with such cells goes on.
void check_different(const std::vector<MatrixCell>& cells, const std::string& where);

}  // namespace decant::apps
