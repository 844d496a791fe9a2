#include "engine/io/file_type.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace decant {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor files are little-endian");

// Native types stand before others of the same kind: file_type_of() takes the first.
constexpr FileTypeInfo kTypes[] = {
    {FileType::f64, "F64", 8, DType::f64},   {FileType::f32, "F32", 4, DType::f32},
    {FileType::i64, "I64", 8, DType::i64},   {FileType::i32, "I32", 4, DType::i32},
    {FileType::u8, "U8", 1, DType::u8},      {FileType::f16, "F16", 2, DType::f32},
    {FileType::bf16, "BF16", 2, DType::f32}, {FileType::i16, "I16", 2, DType::i32},
    {FileType::i8, "I8", 1, DType::i32},     {FileType::u32, "U32", 4, DType::i64},
    {FileType::u16, "U16", 2, DType::i32},   {FileType::boolean, "BOOL", 1, DType::u8},
};

struct Half {
  uint16_t bits;
  explicit operator float() const {
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    const float sign = bits >> 15 ? -1.0F : 1.0F;
    if (exponent == 31)
      return fraction ? std::numeric_limits<float>::quiet_NaN()
                      : sign * std::numeric_limits<float>::infinity();
    const float value = exponent == 0
                            ? std::ldexp(static_cast<float>(fraction), -24)
                            : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
    return sign * value;
  }
};

struct Brain {
  uint16_t bits;
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

template <class F>
void with_file_type(FileType type, F&& f) {
  switch (type) {
    case FileType::f64:
      return f.template operator()<double>();
    case FileType::f32:
      return f.template operator()<float>();
    case FileType::f16:
      return f.template operator()<Half>();
    case FileType::bf16:
      return f.template operator()<Brain>();
    case FileType::i64:
      return f.template operator()<int64_t>();
    case FileType::i32:
      return f.template operator()<int32_t>();
    case FileType::i16:
      return f.template operator()<int16_t>();
    case FileType::i8:
      return f.template operator()<int8_t>();
    case FileType::u32:
      return f.template operator()<uint32_t>();
    case FileType::u16:
      return f.template operator()<uint16_t>();
    case FileType::u8:
    case FileType::boolean:
      return f.template operator()<uint8_t>();
  }
}

/// Of a shape that holds something.
std::vector<int64_t> row_major(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()));
  int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = step;
    step *= shape[axis];  // below 2^56, as Shape has it
  }
  return strides;
}

/// Strides along axes of extent 1 mean nothing and may be anything.
bool is_row_major(const Shape& shape, const std::vector<int64_t>& strides) {
  const std::vector<int64_t> expected = row_major(shape);
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] != 1 &&
        strides[static_cast<size_t>(axis)] != expected[static_cast<size_t>(axis)])
      return false;
  return true;
}

/// Throws Error unless every element lies within `count` numbers.
void check_reach(const Shape& shape, const std::vector<int64_t>& strides, int64_t offset,
                 int64_t count) {
  check(strides.size() == static_cast<size_t>(shape.rank()), "expected a stride for each axis of ",
        shape, ", got ", strides.size());
  bool fits = offset >= 0;
  int64_t last = offset;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int64_t stride = strides[static_cast<size_t>(axis)];
    int64_t step = 0;
    fits = fits && stride >= 0 && !__builtin_mul_overflow(shape[axis] - 1, stride, &step) &&
           !__builtin_add_overflow(last, step, &last);
  }
  check(fits && last < count, "expected ", shape, " to lie within ", count,
        " stored numbers, its offset and strides lead beyond");
}

/// One row at a time, the last axis; `at` is its beginning, in numbers.
template <class Raw, class T>
void gather(const std::byte* bytes, const Shape& shape, const std::vector<int64_t>& strides,
            int64_t at, int axis, T*& out) {
  if (axis + 1 < shape.rank()) {
    for (int64_t i = 0; i < shape[axis]; ++i)
      gather<Raw>(bytes, shape, strides, at + i * strides[static_cast<size_t>(axis)], axis + 1,
                  out);
    return;
  }
  const int64_t count = axis < shape.rank() ? shape[axis] : 1;
  const int64_t stride = axis < shape.rank() ? strides[static_cast<size_t>(axis)] : 1;
  for (int64_t i = 0; i < count; ++i) {
    Raw raw;
    std::memcpy(&raw, bytes + static_cast<size_t>(at + i * stride) * sizeof(Raw), sizeof(Raw));
    *out++ = static_cast<T>(raw);
  }
}

}  // namespace

const FileTypeInfo& about(FileType type) {
  return *std::ranges::find(kTypes, type, &FileTypeInfo::type);
}

const FileTypeInfo* find_file_type(std::string_view name) {
  const auto* found = std::ranges::find(kTypes, name, &FileTypeInfo::name);
  return found == std::end(kTypes) ? nullptr : found;
}

const FileTypeInfo& file_type_of(DType dtype) {
  const auto* found = std::ranges::find(kTypes, dtype, &FileTypeInfo::dtype);
  check(found != std::end(kTypes), "expected float32, float64, int32, int64 or uint8, got ", dtype);
  return *found;
}

Tensor StoredTensor::read() const {
  const FileTypeInfo& info = about(type);
  if (shape.size() == 0) return Tensor(shape, info.dtype);
  const auto count = static_cast<int64_t>(bytes.size() / info.bytes);
  const std::vector<int64_t> steps = strides.empty() ? row_major(shape) : strides;
  check_reach(shape, steps, offset, count);
  Tensor tensor(shape, info.dtype);
  // Values that lie as they will are one row.
  const bool one_row = is_row_major(shape, steps);
  const Shape rows = one_row ? Shape{shape.size()} : shape;
  const std::vector<int64_t> row_steps = one_row ? std::vector<int64_t>{1} : steps;
  with_file_type(type, [&]<class Raw>() {
    with_type(info.dtype, [&]<class T>() {
      T* out = tensor.mutable_data<T>();
      if constexpr (std::is_same_v<Raw, T>) {
        if (one_row) {
          std::memcpy(out, bytes.data() + static_cast<size_t>(offset) * sizeof(T),
                      static_cast<size_t>(shape.size()) * sizeof(T));
          return;
        }
      }
      if constexpr (!std::is_same_v<T, bf16> &&
                    (std::is_arithmetic_v<Raw> || std::is_same_v<T, float>))
        gather<Raw>(bytes.data(), rows, row_steps, offset, 0, out);
    });
  });
  return tensor;
}

}  // namespace decant
