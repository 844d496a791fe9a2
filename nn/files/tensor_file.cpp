#include "nn/files/tensor_file.h"

#include <algorithm>
#include <cmath>

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

TensorForm form_of(std::span<const std::byte> bytes) {
  constexpr size_t kHeader = 8;  // where a safetensors file, and no other, has a brace
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const std::string_view begin(text, std::min(bytes.size(), kHeader + 1));
  if (begin.size() > kHeader && begin.ends_with('{')) return TensorForm::safetensors;
  if (begin.starts_with("\x93NUMPY")) return TensorForm::npy;
  const bool pickle = begin.starts_with('\x80') || begin.starts_with('c') || begin.starts_with('(');
  return pickle || begin.starts_with("PK") ? TensorForm::torch : TensorForm::other;
}

TensorForm form_of(const std::filesystem::path& path) {
  return form_of(MappedFile(path).bytes());
}

Tensors parse_tensors(std::span<const std::byte> bytes, std::string_view what) {
  check(!bytes.empty(), what, ": expected a file of tensors, got an empty one");
  switch (form_of(bytes)) {
    case TensorForm::safetensors:
      return {parse_safetensors(bytes, what), {}};
    case TensorForm::npy:
      return {{{{"array", parse_npy(bytes, what)}}, {}}, {}};
    case TensorForm::torch:
      return from_torch(parse_torch(bytes, what));
    case TensorForm::other:
      break;
  }
  constexpr size_t kShown = 8;
  const std::string_view begin(reinterpret_cast<const char*>(bytes.data()),
                               std::min(bytes.size(), kShown));
  throw Error(str(what,
                  ": expected a file of safetensors, PyTorch (.pt, .pth) or numpy (.npy), got one "
                  "that begins with \"",
                  shown(begin), '"'));
}

Tensors read_tensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_tensors(file.bytes(), path.string());
}

void expect_tensor_name(const std::filesystem::path& path) {
  constexpr std::string_view kEndings[] = {".safetensors", ".pt", ".pth", ".bin", ".npy"};
  if (std::ranges::find(kEndings, path.extension().string()) == std::end(kEndings))
    throw Error(
        str(path.string(), ": expected a name that ends in .safetensors, .pt, .pth, .bin or .npy"));
}

void write_tensors(const std::filesystem::path& path, const TensorFile& file) {
  expect_tensor_name(path);
  const std::string ending = path.extension().string();
  if (ending == ".safetensors") {
    write_safetensors(path, file);
  } else if (ending == ".npy") {
    check(file.tensors.size() == 1, path.string(), ": expected one tensor for a .npy file, got ",
          file.tensors.size());
    write_file_atomically(path, npy_bytes(file.tensors[0].tensor));
  } else {
    write_file_atomically(path, torch_bytes(file.tensors));
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

std::string strip_common_prefixes(std::vector<NamedTensor>& tensors) {
  std::string all;
  for (std::string prefix = common_prefix(tensors); !prefix.empty();
       prefix = common_prefix(tensors)) {
    strip_prefix(tensors, prefix);
    all += prefix;
  }
  return all;
}

std::vector<std::string> not_finite(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> found;
  for (const NamedTensor& named : tensors) {
    int64_t count = 0;
    with_type(named.tensor.dtype(), [&]<class T>() {
      if constexpr (std::is_floating_point_v<T>)
        count = std::ranges::count_if(named.tensor.values<T>(),
                                      [](T value) { return !std::isfinite(value); });
    });
    if (count > 0)
      found.push_back(
          str(shown(named.name), " (", count, " of ", named.tensor.size(), " numbers)"));
  }
  return found;
}

}  // namespace decant::nn
