#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"

namespace decant::nn {

/// What any file of tensors holds, whatever program wrote it.
struct Tensors : TensorFile {
  std::vector<std::string> remarks;  ///< what of the file was passed over, for people
};

/// How files of tensors may lie. `other`: none of these.
enum class TensorForm : uint8_t { safetensors, torch, npy, other };
/// By what the bytes begin with, and a file by its first: never by its name.
TensorForm form_of(std::span<const std::byte> bytes);
TensorForm form_of(const std::filesystem::path& path);

/// Reads a file of any form: safetensors, PyTorch (read_torch), numpy (one tensor, called "array").
/// Throws Error naming the path, as those do, and naming the forms where it is of none.
Tensors read_tensors(const std::filesystem::path& path);
/// The same of bytes in memory; `what` stands for the path in messages.
Tensors parse_tensors(std::span<const std::byte> bytes, std::string_view what);

/// Writes by the name's ending: .safetensors, .pt or .pth or .bin, .npy (of a single tensor).
/// Metadata finds a place in safetensors only. Whole or not at all.
/// Throws Error for another ending, naming the known ones, and as the writers do.
void write_tensors(const std::filesystem::path& path, const TensorFile& file);
/// Throws Error, naming the endings, unless the name has one that write_tensors knows.
void expect_tensor_name(const std::filesystem::path& path);

/// "module." or "model." (of DataParallel, Lightning) where every name begins so; otherwise "".
std::string common_prefix(const std::vector<NamedTensor>& tensors);
/// Takes `prefix` off every name. Throws Error where one does not begin so.
void strip_prefix(std::vector<NamedTensor>& tensors, std::string_view prefix);
/// Takes every common_prefix() off, until there is none, and returns them all: "module.model.".
std::string strip_common_prefixes(std::vector<NamedTensor>& tensors);

/// Of the tensors that hold NaN or infinity, "name (3 of 64 numbers)".
std::vector<std::string> not_finite(const std::vector<NamedTensor>& tensors);

}  // namespace decant::nn
