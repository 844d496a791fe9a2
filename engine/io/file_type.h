#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"

namespace decant {

/// How numbers lie in files of tensors, little-endian.
enum class FileType : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u32, u16, u8, boolean };

struct FileTypeInfo {
  FileType type;
  std::string_view name;  ///< as the safetensors format calls it
  size_t bytes;           ///< of one number
  DType dtype;            ///< that it becomes here, which holds all its values
};

const FileTypeInfo& about(FileType type);
/// nullptr where there is none of that name.
const FileTypeInfo* find_file_type(std::string_view name);
/// The type that a tensor's values have in files without being converted.
/// Throws Error for bfloat16, which is a type of activations only: cast it first.
const FileTypeInfo& file_type_of(DType dtype);

/// A tensor as a file describes it, before any of it is read: element [i, j, ..] is number
/// offset + i strides[0] + j strides[1] + .. of those that `bytes` hold.
struct StoredTensor {
  FileType type;
  Shape shape;
  std::vector<int64_t> strides;  ///< one per axis; none at all: row-major
  int64_t offset = 0;
  std::span<const std::byte> bytes;

  /// Reads it. Throws Error where it reaches beyond the bytes, whatever the numbers of a damaged
  /// file are, and where it does not fit into memory.
  Tensor read() const;
};

}  // namespace decant
