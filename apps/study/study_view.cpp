#include "apps/study/study_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "apps/study/statistics.h"

namespace decant::apps {

namespace {

// By image and split, the mean over seeds.
using Scores = std::map<std::pair<std::string, std::string>, double>;

Scores scores_of(const Results& results, const std::string& cell) {
  std::map<Scores::key_type, std::vector<double>> all;
  for (const RunResult& run : results.runs)
    if (run.cell == cell)
      for (const ImageResult& image : run.images)
        if (image.lesion) all[{image.name, run.split}].push_back(image.dice);
  Scores scores;
  for (const auto& [key, dice] : all) scores[key] = mean_std(dice).mean;
  return scores;
}

std::map<std::string, double> by_image(const Scores& scores) {
  std::map<std::string, std::vector<double>> all;
  for (const auto& [key, value] : scores) all[key.first].push_back(value);
  std::map<std::string, double> means;
  for (const auto& [image, values] : all) means[image] = mean_std(values).mean;
  return means;
}

}  // namespace

StudyView::StudyView(const Results& r) : results(r) {
  const auto best_of = [&](const std::string& role) {
    const Cell* found = nullptr;
    for (const Cell& cell : results.cells)
      if (cell.role == role && std::isfinite(dice(cell.name)) &&
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
  const Cell* found = nullptr;
  for (const Cell& other : results.cells) {
    if (other.role != "student") continue;
    if (other.network == cell.network) return &other;
    if (found == nullptr) found = &other;
  }
  return found;
}

std::vector<size_t> StudyView::runs_of(const std::string& cell) const {
  std::vector<size_t> found;
  for (size_t i = 0; i < results.runs.size(); ++i)
    if (results.runs[i].cell == cell) found.push_back(i);
  return found;
}

std::map<std::string, double> StudyView::dice_by_image(const Cell& cell) const {
  return by_image(scores_of(results, cell.name));
}

std::map<std::string, double> StudyView::points_by_image(const Cell& cell,
                                                         const Cell& reference) const {
  const Scores theirs = scores_of(results, reference.name);
  Scores points;
  for (const auto& [key, dice] : scores_of(results, cell.name))
    if (const auto other = theirs.find(key); other != theirs.end())
      points[key] = 100 * (dice - other->second);
  return by_image(points);
}

bool StudyView::chose_checkpoints() const {
  return std::ranges::any_of(results.runs, &RunResult::chose_checkpoint);
}

}  // namespace decant::apps
