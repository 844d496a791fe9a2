#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace decant::apps {

/// What a study says of its figures. All p-values are two-sided. A figure that does not exist is
/// NaN: the spread of one value, a t-test of differences that are all 0.

struct MeanStd {
  double mean;
  double std;  ///< divided by n - 1
};
MeanStd mean_std(std::span<const double> values);

struct Wilcoxon {
  double rank_sum;  ///< of the positive differences
  double p;
  bool exact;
};

/// Paired signed-rank test of the differences of pairs. Zeros are ranked with the others and then
/// left out (Pratt); equal magnitudes share their mean rank. The p-value is that of all assignments
/// of signs to the ranks that are there, each as probable as the other: exact with ties and zeros,
/// where that takes at most `most_work` additions. n differences that are not 0 and as many ranks
/// take n^3 / 3 or, all tied, n^3 / 2: 300 of them fit whatever their ties. Zeros raise the ranks,
/// and the work with them. Beyond: the normal approximation with the variance corrected for zeros
/// and ties, without correction for continuity, as SciPy's.
/// All differences 0: p is 1.
/// Source: Pratt 1959, "Remarks on zeros and ties in the Wilcoxon signed rank procedures".
Wilcoxon wilcoxon_signed_rank(std::span<const double> differences, int64_t most_work = 15'000'000);

struct TTest {
  double t;
  double p;  ///< by Student's distribution of n - 1 degrees of freedom
};
TTest paired_t_test(std::span<const double> differences);

/// I_x(a, b), the regularised incomplete beta function, a, b > 0, 0 <= x <= 1, to 1e-12 or so.
/// Source: its continued fraction, DLMF 8.17.22, evaluated by Lentz's method.
double incomplete_beta(double a, double b, double x);

/// P-values corrected for being several (Holm 1979): the probability of any false positive among
/// them keeps what a single test promises. NaN stays and does not count.
std::vector<double> holm(std::span<const double> p);

/// The middle 95 % of the means of `resamples` samples drawn with replacement (percentile method,
/// linear between neighbours). The same seed gives the same interval.
/// Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 13.
std::array<double, 2> bootstrap_ci95(std::span<const double> values, uint64_t seed = 0,
                                     int64_t resamples = 10'000);

/// Cohen's d_z: the mean of paired differences in units of their own standard deviation.
double cohen_dz(std::span<const double> differences);

}  // namespace decant::apps
