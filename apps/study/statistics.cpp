#include "apps/study/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/core/rng.h"

namespace decant::apps {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<size_t> order_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return values[a] < values[b]; });
  return order;
}

// The signed-rank test's ranks, doubled: the mean rank of ties is a whole number then.
struct SignedRanks {
  std::vector<int64_t> doubled;  // of the differences that are not 0
  int64_t positive = 0;          // doubled sum over the positive ones
  int64_t zeros = 0;
  double ties = 0;  // sum of t^3 - t over groups of t equal magnitudes, without the zeros
};

SignedRanks rank(std::span<const double> differences) {
  std::vector<double> magnitudes;
  for (const double d : differences) magnitudes.push_back(std::fabs(d));
  const std::vector<size_t> order = order_of(magnitudes);
  SignedRanks ranks;
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    const double magnitude = magnitudes[order[begin]];
    while (end < order.size() && magnitudes[order[end]] == magnitude) ++end;
    if (magnitude == 0) {
      ranks.zeros = static_cast<int64_t>(end);
      continue;
    }
    const auto doubled = static_cast<int64_t>(begin + 1 + end);
    const auto tied = static_cast<double>(end - begin);
    ranks.ties += tied * tied * tied - tied;
    for (size_t i = begin; i < end; ++i) {
      ranks.doubled.push_back(doubled);
      if (differences[order[i]] > 0) ranks.positive += doubled;
    }
  }
  return ranks;
}

// Additions that exact_p() makes: over the sums that each rank, added in order, can reach.
int64_t work_of(const SignedRanks& ranks) {
  int64_t work = 0;
  int64_t reached = 0;
  for (const int64_t rank : ranks.doubled) work += reached += rank;
  return work;
}

// Adds the ranks one by one, each with sign + or -, to the distribution of the positive sum.
double exact_p(const SignedRanks& ranks) {
  const int64_t total = std::accumulate(ranks.doubled.begin(), ranks.doubled.end(), int64_t{0});
  std::vector<double> probability(static_cast<size_t>(total) + 1, 0.0);
  probability[0] = 1;
  int64_t reached = 0;
  for (const int64_t rank : ranks.doubled) {
    reached += rank;
    for (int64_t sum = reached; sum >= 0; --sum) {
      const auto at = static_cast<size_t>(sum);
      const double with = sum >= rank ? probability[static_cast<size_t>(sum - rank)] : 0;
      probability[at] = 0.5 * (probability[at] + with);
    }
  }
  const auto observed = probability.begin() + ranks.positive;
  const double at_most = std::accumulate(probability.begin(), observed + 1, 0.0);
  const double at_least = std::accumulate(observed, probability.end(), 0.0);
  return std::min(1.0, 2 * std::min(at_most, at_least));
}

double normal_p(const SignedRanks& ranks) {
  const auto zeros = static_cast<double>(ranks.zeros);
  const auto n = zeros + static_cast<double>(ranks.doubled.size());
  const double mean = (n * (n + 1) - zeros * (zeros + 1)) / 4;
  const double variance =
      (n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1) - ranks.ties / 2) / 24;
  const double z = (0.5 * static_cast<double>(ranks.positive) - mean) / std::sqrt(variance);
  return std::erfc(std::fabs(z) / std::sqrt(2.0));
}

// The continued fraction of I_x(a, b) beside its factor, for x below (a + 1) / (a + b + 2), where
// it converges fast.
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  constexpr int kMostTerms = 10'000;
  const auto away_from_zero = [](double v) { return std::fabs(v) < kTiny ? kTiny : v; };
  double c = 1;
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double fraction = d;
  for (int m = 1; m < kMostTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      change *= c * d;
    }
    fraction *= change;
    if (std::fabs(change - 1) < 1e-15) break;
  }
  return fraction;
}

// The value below which a share of the sorted values lies, linear between neighbours.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

}  // namespace

MeanStd mean_std(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {kNan, kNan};
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (n - 1)) : kNan};
}

Wilcoxon wilcoxon_signed_rank(std::span<const double> differences, int64_t most_work) {
  if (differences.empty() ||
      std::ranges::any_of(differences, [](double d) { return std::isnan(d); }))
    return {kNan, kNan, true};  // what has no rank
  const SignedRanks ranks = rank(differences);
  const bool exact = work_of(ranks) <= most_work;
  return {0.5 * static_cast<double>(ranks.positive), exact ? exact_p(ranks) : normal_p(ranks),
          exact};
}

TTest paired_t_test(std::span<const double> differences) {
  const auto [mean, std] = mean_std(differences);
  const auto freedom = static_cast<double>(differences.size()) - 1;
  const double t = mean / (std / std::sqrt(freedom + 1));
  if (std::isnan(t)) return {kNan, kNan};
  if (std::isinf(t)) return {t, 0};
  return {t, incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))};
}

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
  const double log_factor =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  return std::exp(log_factor) / a * beta_fraction(a, b, x);
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<double> numbers;
  for (const double value : p)
    if (!std::isnan(value)) numbers.push_back(value);
  const std::vector<size_t> order = order_of(numbers);
  double largest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const double corrected = static_cast<double>(order.size() - i) * numbers[order[i]];
    largest = std::max(largest, std::min(1.0, corrected));
    numbers[order[i]] = largest;
  }
  std::vector<double> all(p.begin(), p.end());
  auto next = numbers.begin();
  for (double& value : all)
    if (!std::isnan(value)) value = *next++;
  return all;
}

std::array<double, 2> bootstrap_ci95(std::span<const double> values, uint64_t seed,
                                     int64_t resamples) {
  if (values.empty()) return {kNan, kNan};
  const size_t n = values.size();
  std::vector<double> means;
  for (int64_t sample = 0; sample < resamples; ++sample) {
    const Rng rng(RngKey::of(seed, "bootstrap", static_cast<uint64_t>(sample)));
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += values[rng.below(i, n)];
    means.push_back(sum / static_cast<double>(n));
  }
  std::ranges::sort(means);
  return {quantile(means, 0.025), quantile(means, 0.975)};
}

double cohen_dz(std::span<const double> differences) {
  const auto [mean, std] = mean_std(differences);
  return mean / std;
}

}  // namespace decant::apps
