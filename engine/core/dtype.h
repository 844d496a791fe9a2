#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string_view>

#include "engine/core/bf16.h"
#include "engine/core/error.h"

namespace decant {

/// f32 is the working type. f64 exists on the CPU only, as the arithmetic that gradient checks
/// trust. bf16 is a type to store what cuda computes in float; the CPU only converts it. Integers
/// hold class labels and counters, u8 holds images and masks.
enum class DType : uint8_t { f32, f64, i32, i64, u8, bf16 };

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::u8:
      return 1;
    case DType::bf16:
      return 2;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f64:
      return "float64";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    case DType::u8:
      return "uint8";
    case DType::bf16:
      return "bfloat16";
  }
  return "unknown";
}

inline std::ostream& operator<<(std::ostream& out, DType dtype) {
  return out << name_of(dtype);
}

/// Whether ops compute in this type.
constexpr bool is_real(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64;
}

/// The type of parameters and of their gradients beside activations of this type: bf16 is for
/// activations only.
constexpr DType parameter_type(DType activations) {
  return activations == DType::bf16 ? DType::f32 : activations;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType kValue = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType kValue = DType::f64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType kValue = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType kValue = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType kValue = DType::u8;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType kValue = DType::bf16;
};

/// Calls `f.operator()<T>()` with float or double, the types ops compute in.
template <class F>
decltype(auto) with_real_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    default:
      throw Error(str("with_real_type: expected float32 or float64, got ", dtype));
  }
}

/// Calls `f.operator()<T>()` with float or bf16, the types that kernels on cuda read and write.
template <class F>
decltype(auto) with_stored_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::bf16:
      return f.template operator()<bf16>();
    default:
      throw Error(str("with_stored_type: expected float32 or bfloat16, got ", dtype));
  }
}

/// Calls `f.operator()<T>()` with the C++ type named by `dtype`.
template <class F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::i32:
      return f.template operator()<int32_t>();
    case DType::i64:
      return f.template operator()<int64_t>();
    case DType::u8:
      return f.template operator()<uint8_t>();
    case DType::bf16:
      return f.template operator()<bf16>();
  }
  throw Error("with_type: unknown dtype");
}

}  // namespace decant
