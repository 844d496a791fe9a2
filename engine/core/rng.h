#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/core/host_device.h"

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
HOST_DEVICE constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c,
                                                     std::array<uint32_t, 2> key) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<uint32_t>(b >> 32U) ^ c[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32U) ^ c[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return c;
}

/// Random access to the stream of one key: element i is always the same number, on both devices.
class Rng {
 public:
  explicit Rng(const RngKey& key);

  /// What step and sample make of the key: keys that differ in these alone differ in their streams.
  uint64_t stream() const { return stream_; }
  HOST_DEVICE Rng with_stream(uint64_t stream) const {
    Rng other = *this;
    other.stream_ = stream;
    return other;
  }

  /// 32 random bits of element i.
  HOST_DEVICE uint32_t bits(uint64_t i) const { return block(i)[0]; }
  /// All four words of element i: bits() and uniform() take the first, normal() the first two.
  HOST_DEVICE std::array<uint32_t, 4> block(uint64_t i) const {
    return philox({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32U),
                   static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32U)},
                  key_);
  }
  /// Uniform in [0, 1), a multiple of 2^-32, exact in double.
  double uniform(uint64_t i) const;
  /// Uniform in [low, high).
  double uniform(uint64_t i, double low, double high) const;
  /// Standard normal, by Box & Muller's transform of two uniforms of element i.
  double normal(uint64_t i) const;
  /// Uniform in {0, .., n - 1}.
  uint64_t below(uint64_t i, uint64_t n) const;

 private:
  std::array<uint32_t, 2> key_{};
  uint64_t stream_ = 0;
};

}  // namespace decant
