#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"

namespace decant::data {

// The metrics of segmentation_models.pytorch (SMP): counts of pixels, what is made of them, and how
// images and classes are averaged. (metrics.h has what `decant evaluate` prints.)

/// Of one class in one image.
struct PixelCounts {
  int64_t tp = 0, fp = 0, fn = 0, tn = 0;

  PixelCounts& operator+=(const PixelCounts& other);
};
/// One row per image, with an entry per class.
using CountTable = std::vector<std::vector<PixelCounts>>;

/// Binary and multilabel: scores [N, H, W, C], a class where they are at least `threshold`; truth
/// [N, H, W, C] of 0 and 1.
CountTable count_scores(const Tensor& scores, const Tensor& truth, double threshold);
/// Multiclass: whole numbers below `classes`, [N, H, W] both; pixels whose truth is `ignore_index`
/// count nowhere. Throws Error for an ignore_index among the classes, as SMP, and other labels.
CountTable count_labels(const Tensor& answers, const Tensor& truth, int64_t classes,
                        std::optional<int64_t> ignore_index = {});

/// fbeta_score of beta 1 is f1_score, which is Dice. By SMP's names: f1_score, iou_score, accuracy,
/// balanced_accuracy, sensitivity (recall), specificity, precision (positive_predictive_value),
/// negative_predictive_value, false_negative_rate, false_positive_rate, false_discovery_rate,
/// false_omission_rate, positive_likelihood_ratio, negative_likelihood_ratio.
/// NaN where it divides 0 by 0. Throws Error naming the nearest for a name that is none.
double score(std::string_view name, const PixelCounts& counts);
double fbeta_score(const PixelCounts& counts, double beta);
std::vector<std::string> score_names();

struct Averaging {
  /// micro               of the counts of all images and classes together
  /// macro, weighted     of the images' counts together, averaged over classes
  /// micro_imagewise     of the classes' counts together, averaged over images
  /// macro_imagewise, weighted_imagewise   of each image and class, averaged over both
  std::string reduction = "micro";
  std::vector<double> class_weights = {};  ///< of the weighted ones
  double zero_division = 1;                ///< in place of NaN
};
/// Source: SMP 0.5, metrics.  Differs: micro without any pixel to judge by gives zero_division like
/// the others, where SMP's gives NaN; weighted_imagewise divides by the weights' sum alone, where
/// SMP's is C times smaller.
double mean_score(std::string_view name, const CountTable& counts, const Averaging& how = {});

/// A mean overlap (f1_score or iou_score) over images and classes, by whose rule for empty ones:
///   smp      truth and prediction empty 1, only the truth 0
///   monai    an empty truth is left out; the mean over an image's classes, then over images
///   nnunet   left out where both are empty, only the truth 0; the mean over images, then over the
///            classes but the background
/// `first_is_background`: of labels that exclude each other it is, where there are several; of
/// regions that may overlap (multilabel) there is none.
/// NaN where nothing is left. Throws Error for another convention.
double mean_overlap(std::string_view name, const CountTable& counts, std::string_view convention,
                    bool first_is_background = true);

}  // namespace decant::data
