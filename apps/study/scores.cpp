#include "apps/study/scores.h"

#include <algorithm>
#include <utility>
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

bool of_every_seed(const Results& results, const std::string& cell) {
  return results.cell(cell).role == "teacher" ||
         (!results.jobs && std::ranges::count(results.runs, cell, &RunResult::cell) == 1);
}

}  // namespace

Scores dice_of(const Results& results, const std::string& cell) {
  const bool every_seed = of_every_seed(results, cell);
  std::map<Measured, std::vector<double>> grouped;
  for (const RunResult& run : results.runs) {
    if (run.cell != cell) continue;
    const std::optional<uint64_t> seed = every_seed ? std::optional<uint64_t>() : run.seed;
    for (const ImageResult& image : run.images)
      if (image.lesion) grouped[{image.name, run.split, seed}].push_back(image.dice);
  }
  return means_of(grouped);
}

Scores points_between(const Scores& mine, const Scores& other) {
  Scores points;
  for (const auto& [key, dice] : mine) {
    const Measured any{key.image, key.split, {}};
    if (!key.seed) {  // no seed sorts before all: the others of this image and split follow it
      for (auto it = other.lower_bound(any); it != other.end(); ++it) {
        if (it->first.image != key.image || it->first.split != key.split) break;
        points[it->first] = 100 * (dice - it->second);
      }
      continue;
    }
    auto found = other.find(key);
    if (found == other.end()) found = other.find(any);
    if (found != other.end()) points[key] = 100 * (dice - found->second);
  }
  return points;
}

std::map<std::string, double> means_by(const Scores& scores, std::string Measured::* half) {
  std::map<std::pair<std::string, std::string>, std::vector<double>> seeds;
  for (const auto& [key, value] : scores) seeds[{key.image, key.split}].push_back(value);
  std::map<std::string, std::vector<double>> grouped;
  for (const auto& [key, mean] : means_of(seeds))
    grouped[half == &Measured::image ? key.first : key.second].push_back(mean);
  return means_of(grouped);
}

}  // namespace decant::apps
