#include "apps/study/study_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "apps/study/scores.h"

namespace decant::apps {

StudyView::StudyView(const Results& r) : results(r) {
  const auto best_of = [&](const std::string& role) {
    const Cell* found = nullptr;
    for (const Cell& cell : results.cells)
      if (cell.role == role && complete(cell) && std::isfinite(dice(cell.name)) &&
          (found == nullptr || dice(cell.name) > dice(found->name)))
        found = &cell;
    return found;
  };
  for (const Cell* candidate : {best_of("distilled"), best_of("student"), best_of("teacher")})
    if (best == nullptr) best = candidate;
}

const TableRow* StudyView::row(const std::string& cell) const {
  const auto found = std::ranges::find(results.table, cell, &TableRow::cell);
  return found == results.table.end() ? nullptr : &*found;
}

double StudyView::dice(const std::string& cell) const {
  const TableRow* found = row(cell);
  return found == nullptr ? kNoFigure : found->dice_images_mean;
}

const Cell* StudyView::teacher_of(const Cell& cell) const {
  return cell.teacher ? &results.cell(*cell.teacher) : nullptr;
}

const Cell* StudyView::student_of(const Cell& cell) const {
  const auto named = [&](const Cell& other) { return other.name == cell.student; };
  const auto found = std::ranges::find_if(results.cells, named);
  return found == results.cells.end() ? nullptr : &*found;
}

bool StudyView::complete(const Cell& cell) const {
  return !cell.jobs || std::cmp_greater_equal(runs_of(cell.name).size(), *cell.jobs);
}

std::vector<size_t> StudyView::runs_of(const std::string& cell) const {
  std::vector<size_t> found;
  for (size_t i = 0; i < results.runs.size(); ++i)
    if (results.runs[i].cell == cell) found.push_back(i);
  return found;
}

std::map<std::string, double> StudyView::dice_by_image(const Cell& cell) const {
  return means_by(dice_of(results, cell.name), &Measured::image);
}

std::map<std::string, double> StudyView::points_by_image(const Cell& cell,
                                                         const Cell& reference) const {
  const Scores points =
      points_between(dice_of(results, cell.name), dice_of(results, reference.name));
  return means_by(points, &Measured::image);
}

bool StudyView::chose_checkpoints() const {
  return std::ranges::any_of(results.runs, &RunResult::chose_checkpoint);
}

}  // namespace decant::apps
