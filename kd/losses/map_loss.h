#pragma once

#include "kd/map_pair.h"
#include "kd/spec.h"

namespace decant::kd {

// Both losses take maps of equal shape [N, h, w, C] and return a scalar that no gradient leaves
// towards the teacher. A masked position leaves the sum, the divisor and, under kld, both
// softmaxes; a distribution with nothing left leaves the mean. Where a whole batch is masked there
// is nothing to compare: the value is 0 and so is the gradient.
// Errors begin with `op`.

/// mean (teacher - student)^2 over all that is not masked.
Variable map_mse(const std::string& op, const MapPair& maps);

/// mean over distributions of T^2 sum P log(P / Q), P = softmax(teacher / T), Q of the student;
/// what one distribution runs over, and what the mean, is `axis` (see KldAxis):
///   classes, channel  C values, N h w distributions; classes with C = 1: Bernoulli over (0, z)
///   spatial           h w values, N C distributions
///   flat              h w C values, N distributions
/// Throws Error where a distribution would have one value, on which every softmax is 1.
/// Source: Behboodi, Brooks & Rivaz 2025, eqs. II and III; spatial rows per channel as in Shu et
/// al. 2021.
Variable map_kld(const std::string& op, const MapPair& maps, KldAxis axis, double temperature);

}  // namespace decant::kd
