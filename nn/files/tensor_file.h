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

/// Reads a file by what it begins with, not by its name: safetensors, PyTorch (read_torch), numpy
/// (one tensor, called "array"). Throws Error naming the path, as those do.
Tensors read_tensors(const std::filesystem::path& path);
/// The same of bytes in memory; `what` stands for the path in messages.
Tensors parse_tensors(std::span<const std::byte> bytes, std::string_view what);

/// Writes by the name's ending: .safetensors, .pt or .pth or .bin, .npy (of a single tensor).
/// Metadata finds a place in safetensors only. Whole or not at all.
/// Throws Error for another ending, naming the known ones, and as the writers do.
void write_tensors(const std::filesystem::path& path, const TensorFile& file);

/// "module." or "model." (of DataParallel, Lightning) where every name begins so; otherwise "".
std::string common_prefix(const std::vector<NamedTensor>& tensors);
/// Takes `prefix` off every name. Throws Error where one does not begin so.
void strip_prefix(std::vector<NamedTensor>& tensors, std::string_view prefix);

}  // namespace decant::nn
