#pragma once

#include <map>
#include <string>
#include <utility>

#include "apps/study/results.h"

namespace decant::apps {

using ImageAndSplit = std::pair<std::string, std::string>;

/// A figure of images with a lesion by image and split, the mean over seeds.
using Scores = std::map<ImageAndSplit, double>;

/// Dice of a cell, in [0, 1].
Scores dice_of(const Results& results, const std::string& cell);

/// `mine` less `other` in points, of the images and splits that both have.
Scores points_between(const Scores& mine, const Scores& other);

/// The mean for every image (half: &ImageAndSplit::first) or for every split (second), by name.
std::map<std::string, double> means_by(const Scores& scores, std::string ImageAndSplit::* half);

}  // namespace decant::apps
