// The least that torch.load takes: a zip archive of a pickle and one storage per tensor.

#include <limits>
#include <set>

#include "engine/io/file_type.h"
#include "nn/files/byte_writer.h"
#include "nn/files/torch_file.h"
#include "nn/files/zip.h"

namespace decant::nn {
namespace {

std::string_view storage_name(const NamedTensor& named) {
  switch (named.tensor.dtype()) {
    case DType::f64:
      return "DoubleStorage";
    case DType::f32:
      return "FloatStorage";
    case DType::i64:
      return "LongStorage";
    case DType::i32:
      return "IntStorage";
    case DType::u8:
      return "ByteStorage";
    case DType::bf16:
      break;
  }
  throw Error(str("torch: expected \"", named.name,
                  "\" of float32, float64, int32, int64 or uint8, got ", named.tensor.dtype()));
}

/// Writes the instructions of protocol 2 that PickleMachine reads.
class PickleWriter {
 public:
  void code(uint8_t instruction) { out_.number(instruction); }
  void global(std::string_view module, std::string_view name) {
    code('c');
    out_.text(module);
    out_.text("\n");
    out_.text(name);
    out_.text("\n");
  }
  void text(std::string_view words) {
    code('X');
    out_.number(static_cast<uint32_t>(words.size()));
    out_.text(words);
  }
  void integer(int64_t value) {
    if (value >= 0 && value <= std::numeric_limits<int32_t>::max()) {
      code('J');
      out_.number(static_cast<int32_t>(value));
      return;
    }
    code(0x8A);  // LONG1
    out_.number(uint8_t{sizeof(value)});
    out_.number(value);
  }
  void tuple(const std::vector<int64_t>& values) {
    code('(');
    for (const int64_t value : values) integer(value);
    code('t');
  }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    code(')');  // EMPTY_TUPLE
    code('R');  // REDUCE
  }
  std::vector<std::byte> take() { return out_.take(); }

 private:
  ByteWriter out_;
};

/// _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
void put_tensor(PickleWriter& out, const NamedTensor& named, size_t key) {
  const Tensor& tensor = named.tensor;
  const auto extents = tensor.shape().extents();
  std::vector<int64_t> strides(extents.size(), 1);
  if (tensor.size() > 0)
    for (size_t i = extents.size(); i-- > 1;) strides[i - 1] = strides[i] * extents[i];
  out.global("torch._utils", "_rebuild_tensor_v2");
  out.code('(');
  out.code('(');
  out.text("storage");
  out.global("torch", storage_name(named));
  out.text(std::to_string(key));
  out.text("cpu");
  out.integer(tensor.size());
  out.code('t');
  out.code('Q');  // BINPERSID
  out.integer(0);
  out.tuple({extents.begin(), extents.end()});
  out.tuple(strides);
  out.code(0x89);  // NEWFALSE
  out.empty_ordered_dict();
  out.code('t');
  out.code('R');
}

std::vector<std::byte> pickle_of(const std::vector<NamedTensor>& tensors) {
  PickleWriter out;
  out.code(0x80);  // PROTO
  out.code(2);
  out.empty_ordered_dict();
  out.code('(');
  for (size_t i = 0; i < tensors.size(); ++i) {
    out.text(tensors[i].name);
    put_tensor(out, tensors[i], i);
  }
  out.code('u');  // SETITEMS
  out.code('.');  // STOP
  return out.take();
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  std::span<const std::byte> bytes;
  if (tensor.size() > 0)
    with_type(tensor.dtype(), [&]<class T>() { bytes = std::as_bytes(tensor.values<T>()); });
  return bytes;
}

}  // namespace

std::vector<std::byte> torch_bytes(const std::vector<NamedTensor>& tensors) {
  std::set<std::string_view> names;
  for (const NamedTensor& tensor : tensors)
    check(names.insert(tensor.name).second, "torch: expected unique names, got \"", tensor.name,
          "\" again");
  constexpr std::string_view kVersion = "3\n";
  constexpr std::string_view kOrder = "little";
  const std::vector<std::byte> pickle = pickle_of(tensors);
  std::vector<ZipEntry> entries = {{"archive/data.pkl", pickle},
                                   {"archive/byteorder", std::as_bytes(std::span(kOrder))}};
  for (size_t i = 0; i < tensors.size(); ++i)
    entries.push_back({str("archive/data/", i), bytes_of(tensors[i].tensor)});
  entries.push_back({"archive/version", std::as_bytes(std::span(kVersion))});
  return zip_bytes(entries);
}

}  // namespace decant::nn
