#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/image_io.h"

namespace decant::data {

/// What an overlap is where both masks are empty: 1, left out (NaN), or 0.
enum class EmptyPolicy { one, nan, zero };
/// Throws Error unless `name` is one, nan or zero.
EmptyPolicy empty_policy_from(std::string_view name);
std::string_view name_of(EmptyPolicy policy);

/// Agreement of a predicted mask with the truth, from the counts of one image:
///   dice = 2 tp / (2 tp + fp + fn), iou = tp / (tp + fp + fn), sensitivity = tp / (tp + fn),
///   specificity = tn / (tn + fp), precision = tp / (tp + fp); NaN where the divisor is 0.
/// hd95: 95th percentile (linear interpolation) of the distances between the surfaces, in pixels;
/// surface = mask XOR its erosion by the 4-neighbour cross (outside the image is background).
///   hd95_pooled  over the distances of both directions together (medpy)
///   hd95_max     the larger of the two directed percentiles (MONAI, MetricsReloaded)
/// Empty masks, policy `one`: both empty -> dice, iou 1 and hd95 0; one empty -> dice, iou 0 and
/// hd95 the image's diagonal. `zero`: both empty -> dice, iou 0 and hd95 the diagonal. `nan`: both
/// empty -> dice, iou, hd95 NaN; one empty -> dice, iou 0 and hd95 NaN.
/// Source: distances by Felzenszwalb & Huttenlocher 2012, "Distance transforms of sampled
/// functions", exact.
struct ImageMetrics {
  std::string id;
  int64_t tp = 0, fp = 0, fn = 0, tn = 0;
  double dice = 0, iou = 0, sensitivity = 0, specificity = 0, precision = 0;
  double hd95_pooled = 0, hd95_max = 0;

  bool truth_empty() const { return tp + fn == 0; }
  bool prediction_empty() const { return tp + fp == 0; }
};

/// Both masks have one channel; any value but 0 is lesion. Throws Error naming both sizes where
/// they differ.
ImageMetrics measure(const Image& prediction, const Image& truth,
                     EmptyPolicy policy = EmptyPolicy::one);

/// Mean and standard deviation (divided by n - 1) over the images where the figure is a number.
struct Summary {
  double mean = 0;
  double std = 0;
  int64_t count = 0;     ///< images that entered
  int64_t left_out = 0;  ///< images where it was NaN
};

struct MetricsTable {
  Summary dice, iou, sensitivity, specificity, precision, hd95_pooled, hd95_max;
};

struct MetricsReport {
  EmptyPolicy policy = EmptyPolicy::one;
  std::vector<ImageMetrics> images;
  MetricsTable all;      ///< over all images
  MetricsTable lesions;  ///< over the images whose truth is not empty
  int64_t both_empty = 0, truth_empty_only = 0, prediction_empty_only = 0;
};

MetricsReport summarize(std::vector<ImageMetrics> images, EmptyPolicy policy = EmptyPolicy::one);

/// Every figure of the report; NaN becomes null.
nlohmann::json to_json(const MetricsReport& report);

/// Squared Euclidean distance of every pixel to the nearest pixel that is not 0, exactly, in time
/// proportional to the number of pixels; +infinity everywhere where there is none.
std::vector<double> squared_distances(const Image& mask);

}  // namespace decant::data
