#include "apps/study/scores.h"

#include <vector>

#include "apps/study/statistics.h"

namespace decant::apps {
namespace {

template <class Key>
std::map<Key, double> means_of(const std::map<Key, std::vector<double>>& grouped) {
  std::map<Key, double> means;
  for (const auto& [key, values] : grouped) means[key] = mean_std(values).mean;
  return means;
}

}  // namespace

Scores dice_of(const Results& results, const std::string& cell) {
  std::map<ImageAndSplit, std::vector<double>> grouped;
  for (const RunResult& run : results.runs)
    if (run.cell == cell)
      for (const ImageResult& image : run.images)
        if (image.lesion) grouped[{image.name, run.split}].push_back(image.dice);
  return means_of(grouped);
}

Scores points_between(const Scores& mine, const Scores& other) {
  Scores points;
  for (const auto& [key, dice] : mine)
    if (const auto found = other.find(key); found != other.end())
      points[key] = 100 * (dice - found->second);
  return points;
}

std::map<std::string, double> means_by(const Scores& scores, std::string ImageAndSplit::* half) {
  std::map<std::string, std::vector<double>> grouped;
  for (const auto& [key, value] : scores) grouped[key.*half].push_back(value);
  return means_of(grouped);
}

}  // namespace decant::apps
