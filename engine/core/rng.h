#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace decant {

/// What a random number is for. The numbers of one key are a pure function of it: they do not
/// depend on the order in which they are asked for, on threads, or on what was drawn elsewhere.
struct RngKey {
  uint64_t seed = 0;
  uint64_t purpose = 0;  ///< hash of a parameter's path, or of a word such as "dropout"
  uint64_t step = 0;     ///< optimizer step, or epoch
  uint64_t sample = 0;   ///< index of the image, or 0

  static RngKey of(uint64_t seed, std::string_view purpose, uint64_t step = 0, uint64_t sample = 0);

  /// The key of a part of this purpose: key.part("rotate") differs from key and from other parts.
  RngKey part(std::string_view name) const;
};

/// 64-bit FNV-1a of the bytes of `text`.
constexpr uint64_t fnv1a64(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return hash;
}

/// Philox4x32-10: encrypts a 128-bit counter under a 64-bit key; every output bit depends on
/// every input bit. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Random access to the stream of one key: element i is always the same number.
class Rng {
 public:
  explicit Rng(const RngKey& key);

  /// 32 random bits of element i.
  uint32_t bits(uint64_t i) const;
  /// Uniform in [0, 1), a multiple of 2^-32, exact in double.
  double uniform(uint64_t i) const;
  /// Uniform in [low, high).
  double uniform(uint64_t i, double low, double high) const;
  /// Standard normal, by Box & Muller's transform of two uniforms of element i.
  double normal(uint64_t i) const;
  /// Uniform in {0, .., n - 1}.
  uint64_t below(uint64_t i, uint64_t n) const;

 private:
  std::array<uint32_t, 4> block(uint64_t i) const;

  std::array<uint32_t, 2> key_{};
  uint64_t stream_ = 0;
};

}  // namespace decant
