#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/study/results.h"

namespace decant::apps {

/// What the sections of a report ask of the results. They must outlive it.
class StudyView {
 public:
  explicit StudyView(const Results& results);

  const Results& results;
  /// The distilled cell of the highest Dice; or student, or teacher. Only of those whose runs are
  /// all done: others would win or lose by the splits and seeds that they have not met.
  const Cell* best = nullptr;

  /// nullptr for a cell without runs.
  const TableRow* row(const std::string& cell) const;
  /// Mean Dice over images; NaN without a row.
  double dice(const std::string& cell) const;
  /// The teacher of a cell; nullptr where it has none.
  const Cell* teacher_of(const Cell& cell) const;
  /// The student alone that a cell is compared with; nullptr without one, or before it is done.
  const Cell* student_of(const Cell& cell) const;
  /// Whether all runs of a cell are done, as far as the results tell.
  bool complete(const Cell& cell) const;
  /// Runs of a cell, in the results' order: indices into results.runs.
  std::vector<size_t> runs_of(const std::string& cell) const;

  /// Dice of every image with a lesion, as the table has it: an image that was tested in several
  /// splits, from several seeds, is one image, the mean over splits of its means over seeds.
  std::map<std::string, double> dice_by_image(const Cell& cell) const;
  /// The same of differences, in points, over what both have of image, split and seed.
  std::map<std::string, double> points_by_image(const Cell& cell, const Cell& reference) const;
  /// Whether any figure stands on images that chose a checkpoint.
  bool chose_checkpoints() const;
};

}  // namespace decant::apps
