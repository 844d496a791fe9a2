#include "data/segmentation_scores.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {
namespace {

double ratio(int64_t a, int64_t b) {
  return static_cast<double>(a) / static_cast<double>(b);  // 0 / 0 is NaN
}

double sensitivity(const PixelCounts& c) {
  return ratio(c.tp, c.tp + c.fn);
}
double specificity(const PixelCounts& c) {
  return ratio(c.tn, c.tn + c.fp);
}
double precision(const PixelCounts& c) {
  return ratio(c.tp, c.tp + c.fp);
}
double negative_predictive(const PixelCounts& c) {
  return ratio(c.tn, c.tn + c.fn);
}

using Score = double (*)(const PixelCounts&);

const std::map<std::string, Score, std::less<>>& scores() {
  static const std::map<std::string, Score, std::less<>> all = {
      {"f1_score", [](const PixelCounts& c) { return fbeta_score(c, 1); }},
      {"iou_score", [](const PixelCounts& c) { return ratio(c.tp, c.tp + c.fp + c.fn); }},
      {"accuracy",
       [](const PixelCounts& c) { return ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn); }},
      {"balanced_accuracy",
       [](const PixelCounts& c) { return (sensitivity(c) + specificity(c)) / 2; }},
      {"sensitivity", sensitivity},
      {"recall", sensitivity},
      {"specificity", specificity},
      {"precision", precision},
      {"positive_predictive_value", precision},
      {"negative_predictive_value", negative_predictive},
      {"false_negative_rate", [](const PixelCounts& c) { return 1 - sensitivity(c); }},
      {"false_positive_rate", [](const PixelCounts& c) { return 1 - specificity(c); }},
      {"false_discovery_rate", [](const PixelCounts& c) { return 1 - precision(c); }},
      {"false_omission_rate", [](const PixelCounts& c) { return 1 - negative_predictive(c); }},
      {"positive_likelihood_ratio",
       [](const PixelCounts& c) { return sensitivity(c) / (1 - specificity(c)); }},
      {"negative_likelihood_ratio",
       [](const PixelCounts& c) { return (1 - sensitivity(c)) / specificity(c); }}};
  return all;
}

void expect_table(const CountTable& counts) {
  check(!counts.empty() && !counts.front().empty(), "mean_score: expected counts, got none");
  for (const auto& image : counts)
    check(image.size() == counts.front().size(), "mean_score: expected ", counts.front().size(),
          " classes in every image, got ", image.size());
}

PixelCounts total(const std::vector<PixelCounts>& counts) {
  PixelCounts sum;
  for (const PixelCounts& c : counts) sum += c;
  return sum;
}

std::vector<PixelCounts> by_class(const CountTable& counts) {
  std::vector<PixelCounts> classes(counts.front().size());
  for (const auto& image : counts)
    for (size_t k = 0; k < classes.size(); ++k) classes[k] += image[k];
  return classes;
}

/// Mean of those that are numbers; NaN of none.
double mean_of(const std::vector<double>& values) {
  double sum = 0;
  int64_t count = 0;
  for (const double v : values)
    if (!std::isnan(v)) {
      sum += v;
      ++count;
    }
  return sum / static_cast<double>(count);
}

/// The equal weights of `macro`, or the given ones, of sum 1.
std::vector<double> weights_of(const Averaging& how, size_t classes) {
  if (!how.reduction.starts_with("weighted"))
    return std::vector<double>(classes, 1 / static_cast<double>(classes));
  check(how.class_weights.size() == classes, "mean_score: expected ", classes,
        " class_weights for ", how.reduction, ", got ", how.class_weights.size());
  const double sum = std::accumulate(how.class_weights.begin(), how.class_weights.end(), 0.0);
  check(sum > 0, "mean_score: expected class_weights of a sum above 0, got ", sum);
  std::vector<double> weights = how.class_weights;
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

PixelCounts& PixelCounts::operator+=(const PixelCounts& other) {
  tp += other.tp;
  fp += other.fp;
  fn += other.fn;
  tn += other.tn;
  return *this;
}

CountTable count_scores(const Tensor& scores, const Tensor& truth, double threshold) {
  const Shape& s = scores.shape();
  check(s.rank() == 4 && truth.shape() == s,
        "count_scores: expected scores and truth [N, H, W, C] of one shape, got ", s, " and ",
        truth.shape());
  const Tensor says = scores.to(DType::f64);
  const Tensor is = truth.to(DType::f64);
  CountTable table(static_cast<size_t>(s[0]), std::vector<PixelCounts>(static_cast<size_t>(s[3])));
  const int64_t of_image = s[1] * s[2] * s[3];
  for (int64_t i = 0; i < scores.size(); ++i) {
    const double label = is.data<double>()[i];
    check(label == 0 || label == 1, "count_scores: expected a truth of 0 and 1, got ", label);
    const bool found = says.data<double>()[i] >= threshold;
    PixelCounts& c = table[static_cast<size_t>(i / of_image)][static_cast<size_t>(i % s[3])];
    ++(label == 1 ? (found ? c.tp : c.fn) : (found ? c.fp : c.tn));
  }
  return table;
}

CountTable count_labels(const Tensor& answers, const Tensor& truth, int64_t classes,
                        std::optional<int64_t> ignore_index) {
  const Shape& s = answers.shape();
  check(s.rank() == 3 && truth.shape() == s,
        "count_labels: expected answers and truth [N, H, W] of one shape, got ", s, " and ",
        truth.shape());
  check(!ignore_index || *ignore_index < 0 || *ignore_index >= classes,
        "count_labels: expected an ignore_index outside of 0 .. ", classes - 1, ", got ",
        ignore_index.value_or(0));
  const Tensor says = answers.to(DType::i64);
  const Tensor is = truth.to(DType::i64);
  CountTable table(static_cast<size_t>(s[0]),
                   std::vector<PixelCounts>(static_cast<size_t>(classes)));
  for (int64_t i = 0; i < answers.size(); ++i) {
    const int64_t label = is.data<int64_t>()[i];
    if (ignore_index && label == *ignore_index) continue;
    const int64_t found = says.data<int64_t>()[i];
    for (const int64_t k : {label, found})
      check(k >= 0 && k < classes, "count_labels: expected labels of 0 .. ", classes - 1, ", got ",
            k);
    auto& image = table[static_cast<size_t>(i / (s[1] * s[2]))];
    for (int64_t k = 0; k < classes; ++k) {
      PixelCounts& c = image[static_cast<size_t>(k)];
      ++(label == k ? (found == k ? c.tp : c.fn) : (found == k ? c.fp : c.tn));
    }
  }
  return table;
}

double fbeta_score(const PixelCounts& c, double beta) {
  const double b = beta * beta;
  const double hits = (1 + b) * static_cast<double>(c.tp);
  return hits / (hits + b * static_cast<double>(c.fn) + static_cast<double>(c.fp));
}

double score(std::string_view name, const PixelCounts& counts) {
  const auto found = scores().find(name);
  if (found == scores().end())
    throw Error(str("score: there is no \"", name, "\"; did you mean \"",
                    nearest_name(name, score_names()), "\"?"));
  return found->second(counts);
}

std::vector<std::string> score_names() {
  std::vector<std::string> names;
  for (const auto& [name, of] : scores()) names.push_back(name);
  return names;
}

double mean_score(std::string_view name, const CountTable& counts, const Averaging& how) {
  expect_table(counts);
  const auto value = [&](const PixelCounts& c) {
    const double v = score(name, c);
    return std::isnan(v) ? how.zero_division : v;
  };
  const std::vector<PixelCounts> classes = by_class(counts);
  const auto over_classes = [&](const std::vector<PixelCounts>& row) {
    const std::vector<double> weights = weights_of(how, row.size());
    double sum = 0;
    for (size_t k = 0; k < row.size(); ++k) sum += weights[k] * value(row[k]);
    return sum;
  };
  const auto over_images = [&](const auto& of_image) {
    double sum = 0;
    for (const auto& image : counts) sum += of_image(image);
    return sum / static_cast<double>(counts.size());
  };
  if (how.reduction == "micro") return value(total(classes));
  if (how.reduction == "macro" || how.reduction == "weighted") return over_classes(classes);
  if (how.reduction == "micro_imagewise")
    return over_images([&](const auto& image) { return value(total(image)); });
  if (how.reduction == "macro_imagewise" || how.reduction == "weighted_imagewise")
    return over_images(over_classes);
  const std::vector<std::string> known = {
      "micro", "macro", "weighted", "micro_imagewise", "macro_imagewise", "weighted_imagewise"};
  throw Error(str("mean_score: there is no reduction \"", how.reduction, "\"; did you mean \"",
                  nearest_name(how.reduction, known), "\"?"));
}

double mean_overlap(std::string_view name, const CountTable& counts, std::string_view convention,
                    bool first_is_background) {
  expect_table(counts);
  check(name == "f1_score" || name == "iou_score",
        "mean_overlap: expected f1_score or iou_score, got ", name);
  const bool is_monai = convention == "monai";
  const bool is_nnunet = convention == "nnunet";
  if (convention == "smp")
    return mean_score(name, counts, {.reduction = "macro_imagewise", .class_weights = {}});
  check(is_monai || is_nnunet, "mean_overlap: expected a convention of smp, monai or nnunet, got ",
        convention);
  const auto value = [&](const PixelCounts& c) {
    const bool left_out = is_monai && c.tp + c.fn == 0;
    return left_out ? std::numeric_limits<double>::quiet_NaN() : score(name, c);
  };
  std::vector<double> means;
  if (is_monai) {
    for (const auto& image : counts) {
      std::vector<double> row;
      for (const PixelCounts& c : image) row.push_back(value(c));
      means.push_back(mean_of(row));
    }
    return mean_of(means);
  }
  const size_t classes = counts.front().size();
  for (size_t k = first_is_background && classes > 1 ? 1 : 0; k < classes; ++k) {
    std::vector<double> column;
    for (const auto& image : counts) column.push_back(value(image[k]));
    means.push_back(mean_of(column));
  }
  return mean_of(means);
}

}  // namespace decant::data
