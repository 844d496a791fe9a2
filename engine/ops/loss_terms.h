#pragma once

#include <algorithm>
#include <cmath>

#include "engine/core/on_device.h"
#include "engine/ops/expect.h"
#include "engine/ops/loss_kernels.h"
#include "engine/ops/losses.h"

// A loss is one number that is read, logged and compared, and its gradient a difference of nearly
// equal numbers once a network fits; next to most networks both cost nothing. So on the CPU losses
// are computed in float64 whatever the type of their inputs, and rounded once. One is not:
// bce_with_logits of float32 without a mask, next to which small networks are not so slow. Its
// terms are float32, each right to a few roundings of itself (engine/cpu/losses.inc), and summed up
// in float64. cuda has float32 alone, and formulas in which nothing cancels (loss_kernels.h).

namespace decant {

namespace cpu {

/// Every entry of the mask `repeats` times; throws Error for an entry that is neither 0 nor 1.
inline Counted read_mask(std::string_view op, const Tensor& mask, const Shape& shape,
                         int64_t repeats) {
  Counted result = {Tensor(shape, DType::u8)};
  auto* out = result.mask.mutable_data<uint8_t>();
  with_type(mask.dtype(), [&]<class T>() {
    for (const T m : mask.values<T>()) {
      check(m == T(0) || m == T(1), op, ": expected a mask of 0 and 1, got ",
            static_cast<double>(m));
      out = std::fill_n(out, repeats, static_cast<uint8_t>(m));
      if (m != T(0)) result.count += repeats;
    }
  });
  check(result.count > 0, op, ": expected elements to average, got a mask of ", mask.shape(),
        " that leaves none");
  return result;
}

inline Mean mean_of(double sum, int64_t count, DType dtype) {
  const auto divisor = static_cast<double>(count);
  return {Tensor::full({}, sum / divisor, dtype), Tensor::full({}, divisor, DType::f64)};
}

}  // namespace cpu

/// Checks a mask and repeats it along the last axis where it has extent 1 there.
inline Counted counted(const OpInfo& op, const Tensor& mask, const Shape& shape) {
  if (!mask.defined()) {
    check(shape.size() > 0, op.name, ": expected elements to average, got shape ", shape);
    return {.mask = {}, .count = shape.size()};
  }
  Shape narrow = shape;
  if (shape.rank() > 0) narrow[-1] = 1;
  check(mask.shape() == shape || mask.shape() == narrow, op.name, ": expected a mask of ", shape,
        " or ", narrow, ", got ", mask.shape());
  const int64_t repeats = mask.shape() == shape ? 1 : shape[-1];
  return ON_DEVICE(mask, read_mask, op.name, mask, shape, repeats);
}

inline void expect_same_shape(const OpInfo& op, const char* a_name, const Shape& a,
                              const char* b_name, const Shape& b) {
  check(a == b, op.name, ": shapes differ, ", a_name, ' ', a, " and ", b_name, ' ', b);
}

inline void expect_temperature(const OpInfo& op, const KlOptions& options) {
  check(std::isfinite(options.temperature) && options.temperature > 0, op.name,
        ": expected a temperature above 0, got ", options.temperature);
}

}  // namespace decant
