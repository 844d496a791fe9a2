#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string_view>

#include "engine/core/error.h"

namespace decant {

/// The extents of a tensor, slowest axis first. Rank 0 is a scalar, of size 1.
/// Axes may be counted from the end: shape[-1] is the fastest.
class Shape {
 public:
  static constexpr int kMaxRank = 6;
  static constexpr int64_t kMaxSize = int64_t{1} << 56;  // bytes still fit in 63 bits

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents)
      : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
    check(extents.size() <= kMaxRank, "Shape: expected at most ", kMaxRank, " axes, got ",
          extents.size());
    int64_t elements = 1;
    for (int i = 0; i < rank_; ++i) {
      extents_[i] = extents[static_cast<size_t>(i)];
      check(extents_[i] >= 0, "Shape: expected extents of at least 0, got ", extents_[i]);
      const bool fits = !__builtin_mul_overflow(elements, extents_[i], &elements);
      check(fits && elements < kMaxSize, "Shape: expected fewer than 2^56 elements, got ", *this);
    }
  }

  int rank() const { return rank_; }

  int64_t size() const {
    int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= extents_[i];
    return product;
  }

  int64_t operator[](int axis) const { return extents_[index(axis)]; }
  /// For building a shape axis by axis; a Tensor checks what came of it.
  int64_t& operator[](int axis) { return extents_[index(axis)]; }

  /// The axis counted from the front; throws Error naming `op` if there is no such axis.
  int axis(int axis, std::string_view op) const {
    check(axis >= -rank_ && axis < rank_, op, ": axis ", axis, " is outside of shape ", *this);
    return axis < 0 ? axis + rank_ : axis;
  }

  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }

  bool operator==(const Shape&) const = default;

  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    out << '[';
    for (int i = 0; i < s.rank_; ++i) out << (i ? ", " : "") << s.extents_[i];
    return out << ']';
  }

 private:
  // std::array's own operator[] takes size_t; this keeps axis arithmetic in int.
  struct Extents : std::array<int64_t, kMaxRank> {
    using Base = std::array<int64_t, kMaxRank>;
    int64_t operator[](int i) const { return Base::operator[](static_cast<size_t>(i)); }
    int64_t& operator[](int i) { return Base::operator[](static_cast<size_t>(i)); }
    bool operator==(const Extents&) const = default;
  };

  int index(int axis) const {
    const int i = axis < 0 ? axis + rank_ : axis;
    check(i >= 0 && i < rank_, "Shape: axis ", axis, " of a shape of rank ", rank_);
    return i;
  }

  Extents extents_{};
  int rank_ = 0;
};

}  // namespace decant
