#include "data/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"

namespace decant::data {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Squared distances along one line: out[q] = min over p of (q - p)^2 + f[p], in linear time. The
/// parabolas rooted at (p, f[p]) form a lower envelope; `roots` are its members from left to right,
/// the i-th being lowest from starts[i] on.
class LineTransform {
 public:
  explicit LineTransform(size_t longest) : roots_(longest), starts_(longest) {}

  void operator()(const std::vector<double>& f, std::vector<double>& out, size_t n) {
    size_t count = 0;
    for (size_t q = 0; q < n; ++q) {
      if (f[q] == kInf) continue;
      double start = -kInf;
      while (count > 0) {
        start = crossing(f, roots_[count - 1], q);
        if (start > starts_[count - 1]) break;
        start = -kInf;
        --count;
      }
      roots_[count] = q;
      starts_[count] = start;
      ++count;
    }
    size_t i = 0;
    for (size_t q = 0; q < n; ++q) {
      if (count == 0) {
        out[q] = kInf;
        continue;
      }
      while (i + 1 < count && starts_[i + 1] < static_cast<double>(q)) ++i;
      const double d = static_cast<double>(q) - static_cast<double>(roots_[i]);
      out[q] = d * d + f[roots_[i]];
    }
  }

 private:
  // Where the parabola of q > p falls below that of p.
  static double crossing(const std::vector<double>& f, size_t p, size_t q) {
    const auto a = static_cast<double>(p);
    const auto b = static_cast<double>(q);
    return (f[q] + b * b - f[p] - a * a) / (2 * (b - a));
  }

  std::vector<size_t> roots_;
  std::vector<double> starts_;
};

bool inside(const Image& mask, int x, int y) {
  return x >= 0 && y >= 0 && x < mask.width && y < mask.height && mask.at(x, y) != 0;
}

Image surface_of(const Image& mask) {
  Image surface(mask.width, mask.height, 1);
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      if (inside(mask, x, y) && !(inside(mask, x - 1, y) && inside(mask, x + 1, y) &&
                                  inside(mask, x, y - 1) && inside(mask, x, y + 1)))
        surface.at(x, y) = 1;
  return surface;
}

// Distances of the surface pixels of `from` to the nearest of `to`.
std::vector<double> directed_distances(const Image& from, const Image& to) {
  const std::vector<double> squared = squared_distances(to);
  std::vector<double> distances;
  for (size_t i = 0; i < squared.size(); ++i)
    if (from.pixels[i]) distances.push_back(std::sqrt(squared[i]));
  return distances;
}

// The 95th percentile with linear interpolation between order statistics, as numpy's default.
double percentile95(std::vector<double> values) {
  std::ranges::sort(values);
  const double rank = 0.95 * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(rank);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (rank - static_cast<double>(low)) * (values[high] - values[low]);
}

void set_hd95(ImageMetrics& m, const Image& prediction, const Image& truth) {
  const Image a = surface_of(prediction);
  const Image b = surface_of(truth);
  std::vector<double> pooled = directed_distances(a, b);
  const std::vector<double> back = directed_distances(b, a);
  m.hd95_max = std::max(percentile95(pooled), percentile95(back));
  pooled.insert(pooled.end(), back.begin(), back.end());
  m.hd95_pooled = percentile95(std::move(pooled));
}

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? kNan : static_cast<double>(part) / static_cast<double>(whole);
}

template <class Wanted>
Summary summary_of(const std::vector<ImageMetrics>& images, double ImageMetrics::* figure,
                   Wanted&& wanted) {
  Summary s;
  double sum = 0;
  for (const ImageMetrics& m : images) {
    if (!wanted(m)) continue;
    if (std::isnan(m.*figure)) {
      ++s.left_out;
      continue;
    }
    sum += m.*figure;
    ++s.count;
  }
  s.mean = s.count == 0 ? kNan : sum / static_cast<double>(s.count);
  double squares = 0;
  for (const ImageMetrics& m : images)
    if (wanted(m) && !std::isnan(m.*figure)) squares += (m.*figure - s.mean) * (m.*figure - s.mean);
  s.std = s.count < 2 ? kNan : std::sqrt(squares / static_cast<double>(s.count - 1));
  return s;
}

/// Every figure of ImageMetrics and its place in the table, by the name used in files.
struct Figure {
  const char* name;
  double ImageMetrics::* of_image;
  Summary MetricsTable::* of_table;
};
constexpr Figure kFigures[] = {
    {"dice", &ImageMetrics::dice, &MetricsTable::dice},
    {"iou", &ImageMetrics::iou, &MetricsTable::iou},
    {"sensitivity", &ImageMetrics::sensitivity, &MetricsTable::sensitivity},
    {"specificity", &ImageMetrics::specificity, &MetricsTable::specificity},
    {"precision", &ImageMetrics::precision, &MetricsTable::precision},
    {"hd95_pooled", &ImageMetrics::hd95_pooled, &MetricsTable::hd95_pooled},
    {"hd95_max", &ImageMetrics::hd95_max, &MetricsTable::hd95_max},
};

nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

nlohmann::json table_json(const MetricsTable& table) {
  nlohmann::json json;
  for (const Figure& figure : kFigures) {
    const Summary& s = table.*figure.of_table;
    json[figure.name] = {{"mean", number(s.mean)},
                         {"std", number(s.std)},
                         {"count", s.count},
                         {"left_out", s.left_out}};
  }
  return json;
}

}  // namespace

EmptyPolicy empty_policy_from(std::string_view name) {
  for (const EmptyPolicy policy : {EmptyPolicy::one, EmptyPolicy::nan, EmptyPolicy::zero})
    if (name == name_of(policy)) return policy;
  throw Error(str("empty_policy: expected one, nan or zero, got '", name, "'"));
}

std::string_view name_of(EmptyPolicy policy) {
  switch (policy) {
    case EmptyPolicy::one:
      return "one";
    case EmptyPolicy::nan:
      return "nan";
    case EmptyPolicy::zero:
      return "zero";
  }
  return "unknown";
}

std::vector<double> squared_distances(const Image& mask) {
  const auto w = static_cast<size_t>(mask.width);
  const auto h = static_cast<size_t>(mask.height);
  std::vector<double> d(w * h);
  std::vector<double> in(std::max(w, h));
  std::vector<double> out(std::max(w, h));
  LineTransform transform(std::max(w, h));
  for (size_t x = 0; x < w; ++x) {
    for (size_t y = 0; y < h; ++y) in[y] = mask.pixels[y * w + x] ? 0 : kInf;
    transform(in, out, h);
    for (size_t y = 0; y < h; ++y) d[y * w + x] = out[y];
  }
  for (size_t y = 0; y < h; ++y) {
    std::copy_n(&d[y * w], w, in.begin());
    transform(in, out, w);
    std::copy_n(out.begin(), w, &d[y * w]);
  }
  return d;
}

ImageMetrics measure(const Image& prediction, const Image& truth, EmptyPolicy policy) {
  check(prediction.width == truth.width && prediction.height == truth.height &&
            prediction.channels == 1 && truth.channels == 1,
        "measure: expected masks of one channel and one size, prediction ", prediction.width, " x ",
        prediction.height, " x ", prediction.channels, ", truth ", truth.width, " x ", truth.height,
        " x ", truth.channels);
  ImageMetrics m;
  for (size_t i = 0; i < truth.pixels.size(); ++i) {
    const bool p = prediction.pixels[i] != 0;
    const bool t = truth.pixels[i] != 0;
    ++(p ? (t ? m.tp : m.fp) : (t ? m.fn : m.tn));
  }
  m.dice = ratio(2 * m.tp, 2 * m.tp + m.fp + m.fn);
  m.iou = ratio(m.tp, m.tp + m.fp + m.fn);
  m.sensitivity = ratio(m.tp, m.tp + m.fn);
  m.specificity = ratio(m.tn, m.tn + m.fp);
  m.precision = ratio(m.tp, m.tp + m.fp);

  const double diagonal = std::hypot(truth.width, truth.height);
  if (!m.truth_empty() && !m.prediction_empty()) {
    set_hd95(m, prediction, truth);
  } else if (m.truth_empty() && m.prediction_empty()) {
    const bool one = policy == EmptyPolicy::one;
    m.dice = m.iou = policy == EmptyPolicy::nan ? kNan : one ? 1 : 0;
    m.hd95_pooled = m.hd95_max = policy == EmptyPolicy::nan ? kNan : one ? 0 : diagonal;
  } else {
    m.hd95_pooled = m.hd95_max = policy == EmptyPolicy::nan ? kNan : diagonal;
  }
  return m;
}

MetricsReport summarize(std::vector<ImageMetrics> images, EmptyPolicy policy) {
  MetricsReport report;
  report.policy = policy;
  for (const Figure& figure : kFigures) {
    report.all.*figure.of_table =
        summary_of(images, figure.of_image, [](const ImageMetrics&) { return true; });
    report.lesions.*figure.of_table =
        summary_of(images, figure.of_image, [](const ImageMetrics& m) { return !m.truth_empty(); });
  }
  for (const ImageMetrics& m : images) {
    report.both_empty += m.truth_empty() && m.prediction_empty() ? 1 : 0;
    report.truth_empty_only += m.truth_empty() && !m.prediction_empty() ? 1 : 0;
    report.prediction_empty_only += !m.truth_empty() && m.prediction_empty() ? 1 : 0;
  }
  report.images = std::move(images);
  return report;
}

nlohmann::json to_json(const MetricsReport& report) {
  nlohmann::json images = nlohmann::json::array();
  for (const ImageMetrics& m : report.images) {
    nlohmann::json row = {{"id", m.id}, {"tp", m.tp}, {"fp", m.fp}, {"fn", m.fn}, {"tn", m.tn}};
    for (const Figure& figure : kFigures) row[figure.name] = number(m.*figure.of_image);
    images.push_back(std::move(row));
  }
  return {{"empty_policy", name_of(report.policy)},
          {"all", table_json(report.all)},
          {"lesions", table_json(report.lesions)},
          {"both_empty", report.both_empty},
          {"truth_empty_only", report.truth_empty_only},
          {"prediction_empty_only", report.prediction_empty_only},
          {"images", std::move(images)}};
}

}  // namespace decant::data
