#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"

namespace decant::nn {

/// What a PyTorch file (.pt, .pth, .bin) holds.
struct TorchFile {
  std::vector<NamedTensor> tensors;  ///< in the file's order
  std::string section;  ///< the key under which they lay: "state_dict", "model"; "" on top
  std::vector<std::string> left_out;  ///< keys beside the section, and of what is no tensor
};

/// Reads the tensors of a file that torch.save wrote, without Python and without trust: the pickle
/// in it is data to a machine that can run nothing (see pickle.h), and of names only those that
/// state dicts need may occur. Both forms: the zip archive of PyTorch 1.6 and later, and the
/// sequence of pickles before it.
///
/// A dict of tensors is taken as it is; one under "state_dict", "model_state_dict" or "model" is
/// taken out of its checkpoint. A single tensor is called "tensor". Strides and offsets are
/// followed, shared storages read for each tensor, the device is passed over. Types: double, float,
/// half and bfloat16 (as float32), long, int, short and char (as int32), byte, bool (as uint8).
/// Throws Error beginning with the path: as Pickle and read_zip do, where a tensor reaches beyond
/// its storage, where there are no tensors, and where the tensors would take far more memory than
/// the file (a megabyte that is said to be shared a million times).
TorchFile read_torch(const std::filesystem::path& path);
/// The same of bytes in memory; `what` stands for the path in messages.
TorchFile parse_torch(std::span<const std::byte> bytes, std::string_view what);

/// The bytes of a zip archive that torch.load(file, weights_only=True) reads as an OrderedDict of
/// contiguous tensors. Equal tensors in equal order give equal bytes.
/// Throws Error where a name appears twice, for a type that files do not hold (bfloat16), and for
/// 4 GiB and more.
std::vector<std::byte> torch_bytes(const std::vector<NamedTensor>& tensors);

}  // namespace decant::nn
