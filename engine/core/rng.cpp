#include "engine/core/rng.h"

#include <cmath>
#include <numbers>

namespace decant {
namespace {

// The finalizer of splitmix64: a bijection of 64 bits that spreads every input bit over all.
constexpr uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31U);
}

constexpr uint64_t combine(uint64_t hash, uint64_t value) {
  return mix((hash ^ value) + 0x9E3779B97F4A7C15U);
}

constexpr uint32_t low(uint64_t v) {
  return static_cast<uint32_t>(v);
}
constexpr uint32_t high(uint64_t v) {
  return static_cast<uint32_t>(v >> 32U);
}

}  // namespace

RngKey RngKey::of(uint64_t seed, std::string_view purpose, uint64_t step, uint64_t sample) {
  return {.seed = seed, .purpose = fnv1a64(purpose), .step = step, .sample = sample};
}

RngKey RngKey::part(std::string_view name) const {
  RngKey key = *this;
  key.purpose = combine(purpose, fnv1a64(name));
  return key;
}

Rng::Rng(const RngKey& key) {
  const uint64_t k = combine(combine(0, key.seed), key.purpose);
  key_ = {low(k), high(k)};
  stream_ = combine(combine(0, key.step), key.sample);
}

double Rng::uniform(uint64_t i) const {
  return bits(i) * 0x1p-32;
}

double Rng::uniform(uint64_t i, double low, double high) const {
  return low + (high - low) * uniform(i);
}

double Rng::normal(uint64_t i) const {
  const auto b = block(i);
  const double u = (b[0] + 1.0) * 0x1p-32;  // in (0, 1], so that the logarithm is finite
  const double v = b[1] * 0x1p-32;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

uint64_t Rng::below(uint64_t i, uint64_t n) const {
  const auto b = block(i);
  // The high word of a 64 x 64 bit product maps the fraction b / 2^64 onto 0 .. n - 1.
  const uint64_t fraction = (uint64_t{b[1]} << 32U) | b[0];
  return static_cast<uint64_t>((static_cast<unsigned __int128>(fraction) * n) >> 64U);
}

}  // namespace decant
