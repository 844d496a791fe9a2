// The statistics of a study against SciPy 1.17 and against counting everything.
#include "apps/study/statistics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/core/rng.h"

using namespace decant;
using namespace decant::apps;

namespace {

using Values = std::vector<double>;

constexpr double kGolden = 1e-6;
const double kNan = std::numeric_limits<double>::quiet_NaN();

bool close(double value, double golden, double relative = kGolden) {
  return std::fabs(value - golden) <= relative * std::max(1.0, std::fabs(golden));
}

// numpy.random.default_rng(7): normal(0.03, 0.08, 15), and a later normal(0.02, 0.1, 40)
const Values kFifteen = {0.030098,  0.0539,   0.008069, -0.041247, -0.006374,
                         -0.049332, 0.034811, 0.137217, -0.009377, -0.019638,
                         0.069187,  0.058551, 0.038433, -0.044437, 0.02766};
const Values kForty = {0.08894,   -0.012721, -0.016858, -0.00502,  0.172353,  -0.022802, -0.010368,
                       0.055259,  0.007923,  0.000272,  -0.091407, 0.018848,  -0.024358, 0.136613,
                       0.085309,  0.017586,  0.086838,  -0.013987, 0.125213,  0.01946,   0.078338,
                       -0.109089, 0.054668,  -0.14882,  -0.183533, -0.010448, -0.069993, 0.036405,
                       0.244476,  -0.063172, -0.042394, 0.04054,   0.069301,  0.002359,  -0.000593,
                       0.090246,  0.071991,  -0.083368, 0.012082,  0.023529};
// With ties, and zeros of both signs.
const Values kEleven = {0.1, -0.1, 0.2, 0.0, 0.3, 0.3, -0.2, -0.0, 0.4, 0.1, 0.5};
const Values kSixty = {0.1,  -0.1, 0.0, -0.2, -0.1, -0.2, 0.0,  -0.1, 0.0,  0.0,  0.0, -0.2,
                       0.0,  0.0,  0.0, -0.1, 0.0,  -0.1, -0.1, 0.1,  -0.1, 0.0,  0.1, 0.0,
                       0.0,  0.0,  0.0, -0.1, 0.0,  0.1,  -0.1, 0.1,  0.0,  -0.1, 0.2, 0.1,
                       -0.1, 0.0,  0.1, 0.0,  0.1,  0.0,  0.1,  0.2,  -0.1, 0.0,  0.0, 0.0,
                       -0.1, 0.0,  0.0, 0.1,  0.1,  -0.1, -0.1, 0.1,  -0.2, 0.0,  0.0, 0.1};

// Pratt's ranks by their definition: the mean of the places that a magnitude takes among all.
Values ranks_of(const Values& differences) {
  Values ranks;
  for (const double d : differences) {
    double below = 0;
    double equal = 0;
    for (const double other : differences) {
      below += std::fabs(other) < std::fabs(d) ? 1 : 0;
      equal += std::fabs(other) == std::fabs(d) ? 1 : 0;
    }
    ranks.push_back(d == 0 ? 0 : below + (equal + 1) / 2);
  }
  return ranks;
}

// Two-sided, from all 2^n assignments of signs.
double counted_p(const Values& differences) {
  const Values ranks = ranks_of(differences);
  double observed = 0;
  for (size_t i = 0; i < ranks.size(); ++i) observed += differences[i] > 0 ? ranks[i] : 0;
  double at_most = 0;
  double at_least = 0;
  const uint32_t all = 1U << ranks.size();
  for (uint32_t signs = 0; signs < all; ++signs) {
    double sum = 0;
    for (size_t i = 0; i < ranks.size(); ++i) sum += (signs >> i & 1U) != 0 ? ranks[i] : 0;
    at_most += sum <= observed ? 1 : 0;
    at_least += sum >= observed ? 1 : 0;
  }
  return std::min(1.0, 2 * std::min(at_most, at_least) / all);
}

}  // namespace

TEST_CASE("statistics: signed ranks are SciPy's, exact and approximated") {
  const Wilcoxon fifteen = wilcoxon_signed_rank(kFifteen);
  CHECK(fifteen.exact);
  CHECK(close(fifteen.p, 0.22930908203125));
  CHECK(close(wilcoxon_signed_rank(kForty).p, 0.23173732552095316));
  CHECK(close(wilcoxon_signed_rank(kForty, 0).p, 0.22638759729080615));
  // 40 ranks, doubled, reach 2, 6, 12 .. 1640 one after another: 40 * 41 * 42 / 3 additions.
  CHECK(wilcoxon_signed_rank(kForty, 22'960).exact);
  CHECK_FALSE(wilcoxon_signed_rank(kForty, 22'959).exact);
  CHECK(close(wilcoxon_signed_rank(kEleven).p, 0.0703125));  // SciPy's by all permutations
  CHECK(close(wilcoxon_signed_rank(kEleven, 0).p, 0.0598271903992908));
  CHECK(close(wilcoxon_signed_rank(kSixty, 0).p, 0.44469220708095436));
}

TEST_CASE("statistics: exact p-values with ties and zeros are those of counting all signs") {
  for (uint64_t round = 0; round < 60; ++round) {
    const Rng rng(RngKey::of(round, "differences"));
    const size_t n = 1 + round % 12;
    const auto levels = 1 + rng.below(99, 6);  // few: many ties and zeros
    Values differences;
    for (size_t i = 0; i < n; ++i)
      differences.push_back(static_cast<double>(rng.below(i, 2 * levels + 1)) -
                            static_cast<double>(levels));
    CAPTURE(round);
    CHECK(close(wilcoxon_signed_rank(differences).p, counted_p(differences), 1e-12));
  }
}

TEST_CASE("statistics: signed ranks where nothing differs, and of nothing") {
  CHECK(wilcoxon_signed_rank(Values{0, 0, 0}).p == 1);
  CHECK(std::isnan(wilcoxon_signed_rank(Values{}).p));
  CHECK(wilcoxon_signed_rank(Values{0.2}).p == 1);
}

TEST_CASE("statistics: both ways to signed ranks meet where there are many") {
  Values many;
  const Rng rng(RngKey::of(1, "many"));
  for (uint64_t i = 0; i < 300; ++i) many.push_back(std::round(20 * rng.normal(i) + 2) / 100);
  const double exact = wilcoxon_signed_rank(many).p;
  const double approximate = wilcoxon_signed_rank(many, 0).p;
  CHECK(exact > 0);
  CHECK(std::fabs(exact - approximate) < 0.02 * exact);
}

TEST_CASE("statistics: exact signed ranks are bounded by their work, not by their number") {
  CHECK(wilcoxon_signed_rank(Values(300, 1.0)).exact);  // all tied
  Values zeros(100'000, 0.0);  // they raise 200 ranks to 100,001 and more: 4e9 additions
  for (int i = 1; i <= 200; ++i) zeros.push_back(i % 3 == 0 ? -i : i);
  const Wilcoxon found = wilcoxon_signed_rank(zeros);
  CHECK_FALSE(found.exact);
  CHECK(close(found.p, wilcoxon_signed_rank(zeros, 0).p, 0));
}

TEST_CASE("statistics: the paired t-test is SciPy's") {
  CHECK(close(paired_t_test(kFifteen).t, 1.4745426104973138));
  CHECK(close(paired_t_test(kFifteen).p, 0.1624659618311623));
  CHECK(close(paired_t_test(kEleven).p, 0.04969787021170652));
  CHECK(close(paired_t_test(kSixty).p, 0.40994684903853046));
  CHECK(close(paired_t_test(kForty).p, 0.23654956663244014));
  CHECK(std::isnan(paired_t_test(Values{0, 0, 0}).p));
  CHECK(std::isnan(paired_t_test(Values{1}).p));
  CHECK(paired_t_test(Values{1, 1}).p == 0);
}

TEST_CASE("statistics: the incomplete beta function is SciPy's") {
  CHECK(close(incomplete_beta(0.5, 0.5, 0.3), 0.36901011956554536, 1e-12));
  CHECK(close(incomplete_beta(50, 0.5, 0.99), 0.3173043978741973, 1e-12));
  CHECK(close(incomplete_beta(2, 3, 0.7), 0.9163, 1e-12));
  CHECK(close(incomplete_beta(5000, 0.5, 0.9999), 0.3173105072579534, 1e-10));
  CHECK(incomplete_beta(3, 2, 0) == 0);
  CHECK(incomplete_beta(3, 2, 1) == 1);
}

TEST_CASE("statistics: Holm's correction steps down and never decreases") {
  const Values corrected = holm(Values{0.01, 0.04, kNan, 0.03, 0.005, 0.5});
  CHECK(close(corrected[0], 0.04));  // 4 * 0.01
  CHECK(close(corrected[1], 0.09));  // 2 * 0.04 is less than the one before
  CHECK(std::isnan(corrected[2]));
  CHECK(close(corrected[3], 0.09));   // 3 * 0.03
  CHECK(close(corrected[4], 0.025));  // 5 * 0.005
  CHECK(close(corrected[5], 0.5));
  CHECK(holm(Values{0.7, 0.8}) == Values{1, 1});
}

TEST_CASE("statistics: mean, spread and effect size by their definitions") {
  const MeanStd found = mean_std(Values{1, 2, 3, 6});
  CHECK(found.mean == 3);
  CHECK(close(found.std, std::sqrt(14.0 / 3), 1e-12));
  CHECK(std::isnan(mean_std(Values{1}).std));
  CHECK(std::isnan(mean_std(Values{}).mean));
  CHECK(close(cohen_dz(Values{1, 2, 3, 6}), 3 / std::sqrt(14.0 / 3), 1e-12));
}

TEST_CASE("statistics: the bootstrap's interval is that of all samples") {
  const Values values = {0.0, 0.1, 0.4, 0.9, 0.2};
  Values means;  // of all 5^5 samples
  for (size_t sample = 0; sample < 3125; ++sample) {
    double sum = 0;
    for (size_t rest = sample, i = 0; i < 5; ++i, rest /= 5) sum += values[rest % 5];
    means.push_back(sum / 5);
  }
  std::ranges::sort(means);
  const auto [low, high] = bootstrap_ci95(values, 3, 40'000);
  // The share of samples below an end is binomial: 0.025 +- 4 deviations of 40,000 draws.
  const double off = 4 * std::sqrt(0.025 * 0.975 / 40'000);
  const auto share_below = [&](double value) {
    return static_cast<double>(std::ranges::lower_bound(means, value - 1e-12) - means.begin()) /
           3125;
  };
  const auto share_up_to = [&](double value) {
    return static_cast<double>(std::ranges::upper_bound(means, value + 1e-12) - means.begin()) /
           3125;
  };
  CHECK(share_below(low) <= 0.025 + off);
  CHECK(share_up_to(low) >= 0.025 - off);
  CHECK(share_below(high) <= 0.975 + off);
  CHECK(share_up_to(high) >= 0.975 - off);
  CHECK(bootstrap_ci95(values, 3) == bootstrap_ci95(values, 3));
  CHECK(bootstrap_ci95(kForty, 3) != bootstrap_ci95(kForty, 4));
}

TEST_CASE("statistics: a difference that is no number has no rank, and the test none") {
  const std::vector<double> differences = {1, std::numeric_limits<double>::quiet_NaN(), -2};
  CHECK(std::isnan(wilcoxon_signed_rank(differences).p));
}
