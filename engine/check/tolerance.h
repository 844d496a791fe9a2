#pragma once

#include <cstdint>

#include "engine/core/precision.h"

namespace decant {

/// Roundings to a type of fewer bits than float32, that of a product's operands or of a result.
struct CoarseRoundings {
  Precision to = Precision::f32;  ///< f32: there are none
  int of_each = 0;                ///< that an entry, or a term of its sum, goes through
  int64_t values = 1;             ///< that are rounded independently of each other, at the least
};

/// How far a result may be from exact arithmetic, relative to its norm: the one derivation for the
/// op table and for tests of kernels.
///
/// A rounding moves a value by at most u of it, half a unit of its last place: 2^-24 in float32,
/// 2^-11 in tf32, 2^-8 in bf16. Roundings are independent of each other, so they add up like a
/// random walk.
///
///   float32   a sum of K products brings K of them. Four more stand for what happens to an entry
///             before and after its sum (an exp or a division counts as one). kappa is by how much
///             an op enlarges them: kappa (sqrt(K) + 4) 2^-24.
///   coarse    r of them on each term: the two operands of a product; a stored result, and what it
///             was computed from (weights, a value that was kept). One entry is off by at most r u.
///             Between -u and u all errors are as likely, which is u / sqrt(3) in the mean square,
///             so of many entries the norm is off by at most sqrt(r / 3) u; of N, whose mean square
///             wanders from that like 1 / sqrt(N), by what lies between:
///             (sqrt(r / 3) + (r - sqrt(r / 3)) / sqrt(N)) u.
///
/// Cutting off instead of rounding doubles u. A card's cublasLt may do so to tf32; the emulated
/// device does not, and is held to it.
double tolerance(double products, double kappa = 1, const CoarseRoundings& coarse = {});

}  // namespace decant
