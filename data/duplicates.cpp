#include "data/duplicates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/core/error.h"
#include "engine/core/parallel.h"

namespace decant::data {
namespace {

constexpr int kThumbnail = 16;

// Means over columns x rows cells of equal size.
std::vector<double> cell_means(const Image& image, int columns, int rows) {
  std::vector<double> means;
  const auto edge = [](int i, int cells, int size) {
    return static_cast<int>(int64_t{i} * size / cells);
  };
  for (int r = 0; r < rows; ++r) {
    const int y0 = edge(r, rows, image.height);
    const int y1 = std::max(edge(r + 1, rows, image.height), y0 + 1);
    for (int k = 0; k < columns; ++k) {
      const int x0 = edge(k, columns, image.width);
      const int x1 = std::max(edge(k + 1, columns, image.width), x0 + 1);
      int64_t sum = 0;
      for (int y = y0; y < y1; ++y)
        for (int x = x0; x < x1; ++x) sum += image.at(x, y);
      means.push_back(static_cast<double>(sum) / ((x1 - x0) * (y1 - y0)));
    }
  }
  return means;
}

}  // namespace

Fingerprint fingerprint(const Image& image) {
  check(image.channels == 1, "fingerprint: expected one channel, got ", image.channels);
  Fingerprint print;
  const std::vector<double> cells = cell_means(image, 9, 8);
  for (size_t r = 0; r < 8; ++r)
    for (size_t k = 0; k < 8; ++k)
      print.hash = print.hash << 1 | (cells[r * 9 + k] < cells[r * 9 + k + 1] ? 1U : 0U);
  const std::vector<double> thumbnail = cell_means(image, kThumbnail, kThumbnail);
  const double mean = std::accumulate(thumbnail.begin(), thumbnail.end(), 0.0) /
                      static_cast<double>(thumbnail.size());
  double squares = 0;
  for (const double v : thumbnail) squares += (v - mean) * (v - mean);
  const double length = squares > 0 ? std::sqrt(squares) : 1;
  for (const double v : thumbnail)
    print.thumbnail.push_back(static_cast<float>((v - mean) / length));
  return print;
}

bool near_duplicates(const Fingerprint& a, const Fingerprint& b) {
  if (std::popcount(a.hash ^ b.hash) > kHashBits) return false;
  const double correlation =
      std::inner_product(a.thumbnail.begin(), a.thumbnail.end(), b.thumbnail.begin(), 0.0);
  return correlation >= kCorrelation;
}

std::vector<std::vector<std::string>> group_duplicates(const std::vector<std::string>& ids,
                                                       const std::vector<Fingerprint>& prints) {
  std::vector<size_t> root(ids.size());
  std::iota(root.begin(), root.end(), size_t{0});
  const auto find = [&root](size_t i) {
    while (root[i] != i) i = root[i] = root[root[i]];
    return i;
  };
  for (size_t i = 0; i < ids.size(); ++i)
    for (size_t j = i + 1; j < ids.size(); ++j)
      if (!prints[i].thumbnail.empty() && !prints[j].thumbnail.empty() &&
          near_duplicates(prints[i], prints[j]))
        root[std::max(find(i), find(j))] = std::min(find(i), find(j));
  std::map<size_t, std::vector<std::string>> by_root;
  for (size_t i = 0; i < ids.size(); ++i) by_root[find(i)].push_back(ids[i]);
  std::vector<std::vector<std::string>> groups;
  for (auto& [first, members] : by_root)
    if (members.size() > 1) groups.push_back(std::move(members));
  return groups;
}

std::vector<std::vector<std::string>> duplicate_groups(const Dataset& dataset) {
  std::vector<Fingerprint> prints(dataset.samples.size());
  parallel_for(static_cast<int64_t>(prints.size()), [&](int64_t i) {
    const auto k = static_cast<size_t>(i);
    try {
      prints[k] = fingerprint(read_image(dataset.samples[k].image, 1));
    } catch (const Error&) {
      prints[k] = {};  // in no group; training and check-data report the file by name
    }
  });
  return group_duplicates(dataset.ids(), prints);
}

}  // namespace decant::data
