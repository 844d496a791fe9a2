#include "nn/files/tensor_file.h"

#include <algorithm>

#include "engine/io/atomic_file.h"
#include "engine/io/mapped_file.h"
#include "nn/files/byte_reader.h"
#include "nn/files/npy.h"
#include "nn/files/torch_file.h"

namespace decant::nn {
namespace {

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 10;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i > 0 ? ", " : "") + shown(names[i]);
  return names.size() > kShown ? str(text, ", ... (", names.size(), ")") : text;
}

Tensors from_torch(TorchFile file) {
  Tensors tensors;
  tensors.tensors = std::move(file.tensors);
  if (!file.section.empty()) tensors.remarks.push_back("taken from under \"" + file.section + '"');
  if (!file.left_out.empty()) tensors.remarks.push_back("left out: " + listed(file.left_out));
  return tensors;
}

}  // namespace

Tensors parse_tensors(std::span<const std::byte> bytes, std::string_view what) {
  check(!bytes.empty(), what, ": expected a file of tensors, got an empty one");
  constexpr size_t kHeader = 8;  // where a safetensors file, and no other, has a brace
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const std::string_view begin(text, std::min(bytes.size(), kHeader + 1));
  if (!begin.ends_with('{') || begin.size() <= kHeader) {
    if (begin.starts_with("\x93NUMPY")) return {{{{"array", parse_npy(bytes, what)}}, {}}, {}};
    const bool archive = begin.starts_with("PK");
    const bool pickle = begin[0] == '\x80' || begin[0] == 'c' || begin[0] == '(';
    if (archive || pickle) return from_torch(parse_torch(bytes, what));
  }
  return {parse_safetensors(bytes, what), {}};
}

Tensors read_tensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_tensors(file.bytes(), path.string());
}

void write_tensors(const std::filesystem::path& path, const TensorFile& file) {
  const std::string ending = path.extension().string();
  if (ending == ".safetensors") {
    write_safetensors(path, file);
  } else if (ending == ".pt" || ending == ".pth" || ending == ".bin") {
    write_file_atomically(path, torch_bytes(file.tensors));
  } else if (ending == ".npy") {
    check(file.tensors.size() == 1, path.string(), ": expected one tensor for a .npy file, got ",
          file.tensors.size());
    write_file_atomically(path, npy_bytes(file.tensors[0].tensor));
  } else {
    throw Error(
        str(path.string(), ": expected a name that ends in .safetensors, .pt, .pth, .bin or .npy"));
  }
}

std::string common_prefix(const std::vector<NamedTensor>& tensors) {
  for (const char* prefix : {"module.", "model."})
    if (!tensors.empty() && std::ranges::all_of(tensors, [&](const NamedTensor& t) {
          return t.name.starts_with(prefix);
        }))
      return prefix;
  return "";
}

void strip_prefix(std::vector<NamedTensor>& tensors, std::string_view prefix) {
  for (NamedTensor& tensor : tensors) {
    check(tensor.name.starts_with(prefix), "strip: expected every name to begin with \"", prefix,
          "\", got \"", shown(tensor.name), '"');
    tensor.name.erase(0, prefix.size());
  }
}

}  // namespace decant::nn
