#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"

namespace decant {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// What a safetensors file holds: tensors by unique names, and free words.
struct TensorFile {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata;

  /// nullptr where there is none of that name.
  const Tensor* find(std::string_view name) const;
  /// Throws Error naming the tensor.
  const Tensor& at(std::string_view name) const;
};

/// Reads a safetensors file, mapped into memory: F32, F64, I32, I64, U8 as they are; F16 and BF16
/// as float32; I16, I8, U16 as int32, U32 as int64; BOOL as uint8. Tensors come in the header's
/// order.
/// Strict: throws Error naming the path and what is wrong where the file is shorter than its header
/// says, the header is no JSON object, over 100 MB or nested deeper than entries need, a name
/// stands there twice, an entry lacks a field, ranges overlap, leave holes or do not fit their
/// shapes, or bytes are left over; and where a tensor does not fit into memory. Tensors are read
/// straight into their memory, once the header has passed. Source: the README of the safetensors
/// format, whose reader makes the same checks.
TensorFile read_safetensors(const std::filesystem::path& path);
/// The same of bytes in memory; `what` stands for the path in messages.
TensorFile parse_safetensors(std::span<const std::byte> bytes, std::string_view what);

/// The bytes of a file, the same that the format's own writer makes of these tensors: ordered by
/// type, the wider first, so that every tensor lies aligned, and by name; the header padded with
/// spaces to a multiple of 8. Equal contents give equal bytes, in whatever order they come. (Of
/// several words of metadata that writer leaves the order to chance; here they go by name.)
/// Throws Error where a name appears twice, where a name or metadata is not UTF-8, and naming the
/// tensor where one is of a type that read_safetensors does not give (bfloat16: cast it first).
std::vector<std::byte> safetensors_bytes(const TensorFile& file);

/// Writes the bytes above, whole or not at all (write_file_atomically).
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);

}  // namespace decant
