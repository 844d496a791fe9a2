#pragma once

#include <algorithm>
#include <cmath>

#include "engine/ops/expect.h"
#include "engine/ops/losses.h"

// A loss is one number that is read, logged and compared, and its gradient a difference of nearly
// equal numbers once a network fits; next to the network both cost nothing. So losses are computed
// in float64 whatever the type of their inputs, and rounded once.

namespace decant {

// The elements of a loss that count: a mask of the loss's shape, or undefined where all do.
struct Counted {
  Tensor mask;  // u8
  int64_t count = 0;

  const uint8_t* values() const { return mask.defined() ? mask.data<uint8_t>() : nullptr; }
};

// Checks a mask and repeats it along the last axis where it has extent 1 there.
inline Counted counted(const OpInfo& op, const Tensor& mask, const Shape& shape) {
  if (!mask.defined()) {
    check(shape.size() > 0, op.name, ": expected elements to average, got shape ", shape);
    return {{}, shape.size()};
  }
  Shape narrow = shape;
  if (shape.rank() > 0) narrow[-1] = 1;
  check(mask.shape() == shape || mask.shape() == narrow, op.name, ": expected a mask of ", shape,
        " or ", narrow, ", got ", mask.shape());
  const int64_t repeats = mask.shape() == shape ? 1 : shape[-1];
  Counted result = {Tensor(shape, DType::u8), 0};
  auto* out = result.mask.mutable_data<uint8_t>();
  with_type(mask.dtype(), [&]<class T>() {
    for (const T m : mask.values<T>()) {
      check(m == T(0) || m == T(1), op.name, ": expected a mask of 0 and 1, got ",
            static_cast<double>(m));
      out = std::fill_n(out, repeats, static_cast<uint8_t>(m));
      if (m != T(0)) result.count += repeats;
    }
  });
  check(result.count > 0, op.name, ": expected elements to average, got a mask of ", mask.shape(),
        " that leaves none");
  return result;
}

inline void expect_same_shape(const OpInfo& op, const char* a_name, const Shape& a,
                              const char* b_name, const Shape& b) {
  check(a == b, op.name, ": shapes differ, ", a_name, ' ', a, " and ", b_name, ' ', b);
}

inline void expect_temperature(const OpInfo& op, const KlOptions& options) {
  check(std::isfinite(options.temperature) && options.temperature > 0, op.name,
        ": expected a temperature above 0, got ", options.temperature);
}

inline double softplus_of(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

inline double sigmoid_of(double x) {
  return 1 / (1 + std::exp(-x));
}

inline Tensor scalar(double value, DType dtype) {
  return Tensor::full({}, value, dtype);
}

}  // namespace decant
