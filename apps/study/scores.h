#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "apps/study/results.h"

namespace decant::apps {

/// What a figure was measured on, and the seed that its network began from; without one it is of
/// every seed.
struct Measured {
  std::string image;
  std::string split;
  std::optional<uint64_t> seed;

  auto operator<=>(const Measured&) const = default;
};

/// A figure of images with a lesion by image, split and seed.
using Scores = std::map<Measured, double>;

/// Dice of a cell, in [0, 1]. Teachers are of every seed: a split has one, whatever the seeds of
/// those that learn from it. So is a network that belongs to no study and has one run.
Scores dice_of(const Results& results, const std::string& cell);

/// `mine` less `other` in points: of the images, splits and seeds that both have, so that what is
/// averaged afterwards is of the same seeds on both sides.
Scores points_between(const Scores& mine, const Scores& other);

/// The mean for every image (half: &Measured::image) or for every split (&Measured::split), by
/// name: over means over seeds.
std::map<std::string, double> means_by(const Scores& scores, std::string Measured::* half);

}  // namespace decant::apps
