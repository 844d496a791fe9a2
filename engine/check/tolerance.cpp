#include "engine/check/tolerance.h"

#include <cmath>

namespace decant {
namespace {

#ifdef DECANT_EMULATED
constexpr double kCutOff = 1;
#else
constexpr double kCutOff = 2;
#endif

double half_unit(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return 0x1p-24;
    case Precision::tf32:
      return kCutOff * 0x1p-11;
    case Precision::bf16:
      return 0x1p-8;
  }
  return 0;
}

}  // namespace

double tolerance(double products, double kappa, const CoarseRoundings& coarse) {
  constexpr double kBesides = 4;
  const double fine = kappa * (std::sqrt(products) + kBesides) * half_unit(Precision::f32);
  if (coarse.to == Precision::f32) return fine;
  const double most = coarse.of_each;
  const double usual = std::sqrt(most / 3);
  const double shared = (most - usual) / std::sqrt(static_cast<double>(coarse.values));
  return fine + (usual + shared) * half_unit(coarse.to);
}

}  // namespace decant
