#pragma once

#include <cstdint>
#include <ostream>

namespace decant {

/// What products on cuda (matmul, linear, convolutions) round their float32 operands to before they
/// multiply; sums are float32 in all modes. In bf16 networks store their activations so, too
/// (nn/network.h). The CPU always multiplies what it is given.
enum class Precision : uint8_t {
  f32,   ///< not at all
  tf32,  ///< 10 bits of fraction: tensor cores
  bf16,  ///< 7 bits of fraction: tensor cores at twice the rate
};

inline std::ostream& operator<<(std::ostream& out, Precision p) {
  return out << (p == Precision::f32 ? "float32" : p == Precision::tf32 ? "tf32" : "bf16");
}

/// The mode of this process; f32 to begin with.
Precision precision();
void set_precision(Precision precision);

/// Sets the mode while it lives.
class AtPrecision {
 public:
  explicit AtPrecision(Precision mode) : previous_(precision()) { set_precision(mode); }
  ~AtPrecision() { set_precision(previous_); }
  AtPrecision(const AtPrecision&) = delete;
  AtPrecision& operator=(const AtPrecision&) = delete;

 private:
  Precision previous_;
};

}  // namespace decant
