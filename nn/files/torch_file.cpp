#include "nn/files/torch_file.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "engine/io/file_type.h"
#include "engine/io/mapped_file.h"
#include "nn/files/byte_reader.h"
#include "nn/files/pickle.h"
#include "nn/files/zip.h"

namespace decant::nn {
namespace {

using Kind = PickleNode::Kind;
using Bytes = std::span<const std::byte>;

struct StorageClass {
  std::string_view global;
  FileType type;
};

constexpr StorageClass kStorages[] = {
    {"torch.DoubleStorage", FileType::f64}, {"torch.FloatStorage", FileType::f32},
    {"torch.HalfStorage", FileType::f16},   {"torch.BFloat16Storage", FileType::bf16},
    {"torch.LongStorage", FileType::i64},   {"torch.IntStorage", FileType::i32},
    {"torch.ShortStorage", FileType::i16},  {"torch.CharStorage", FileType::i8},
    {"torch.ByteStorage", FileType::u8},    {"torch.BoolStorage", FileType::boolean},
};

constexpr std::string_view kTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kOldTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kParameter = "torch._utils._rebuild_parameter";

/// Names that say something about data; every other name of Python is refused.
constexpr std::string_view kHarmless[] = {"collections.OrderedDict",
                                          kTensor,
                                          kOldTensor,
                                          kParameter,
                                          "torch.Size",
                                          "torch.device",
                                          "torch.float64",
                                          "torch.float32",
                                          "torch.float16",
                                          "torch.bfloat16",
                                          "torch.int64",
                                          "torch.int32",
                                          "torch.int16",
                                          "torch.int8",
                                          "torch.uint8",
                                          "torch.bool"};

constexpr std::string_view kSections[] = {"state_dict", "model_state_dict", "model"};

/// Names of tensors that are weights and yet none that can be read: how they begin, what they say.
struct OtherTensor {
  std::string_view begin;
  std::string_view reason;
};

constexpr OtherTensor kOtherTensors[] = {
    {"torch._utils._rebuild_sparse",
     "a sparse tensor: expected dense ones (tensor.to_dense() before saving)"},
    {"torch._utils._rebuild_qtensor",
     "a quantized tensor: expected real numbers (tensor.dequantize() before saving)"},
    {"torch.ComplexDoubleStorage", "a tensor of complex numbers: expected real ones"},
    {"torch.ComplexFloatStorage", "a tensor of complex numbers: expected real ones"},
    {"torch._utils._rebuild_tensor_v3",
     "a tensor of float8 or of unsigned whole numbers: expected another type (tensor.float() "
     "before saving)"},
    {"torch.float8_", "a tensor of float8: expected another type (tensor.float() before saving)"},
};

std::string_view refusal_of(std::string_view global) {
  if (std::ranges::find(kHarmless, global) != std::end(kHarmless) ||
      std::ranges::find(kStorages, global, &StorageClass::global) != std::end(kStorages))
    return "";
  const auto* other = std::ranges::find_if(
      kOtherTensors, [&](const OtherTensor& t) { return global.starts_with(t.begin); });
  if (other != std::end(kOtherTensors)) return other->reason;
  return "which no file of weights needs: refused, and nothing of it was run (of a whole model, "
         "save its state_dict)";
}

bool is_call_of(const PickleNode& node, std::string_view global) {
  return node.kind == Kind::call && node.items[0]->text == global;
}

bool is_tensor(const PickleNode& node) {
  return is_call_of(node, kTensor) || is_call_of(node, kOldTensor) || is_call_of(node, kParameter);
}

/// What ("storage", torch.FloatStorage, "0", "cpu", 1728) refers to.
struct StorageId {
  FileType type;
  std::string key;
  int64_t count;
};

StorageId storage_id(const PickleNode& node) {
  check(node.kind == Kind::persistent && node.items[0]->kind == Kind::sequence,
        "expected a tensor's storage, got something else");
  const PickleNode::Items& id = node.items[0]->items;
  check(id.size() >= 5 && id[0]->text == "storage" && id[2]->kind == Kind::text &&
            id[4]->kind == Kind::integer && id[4]->integer >= 0,
        "expected a storage's type, key, device and size, got something else");
  check(id.size() == 5 || id[5]->kind == Kind::none,
        "expected storages of their own, got a view of another one");
  const auto* storage = std::ranges::find(kStorages, id[1]->text, &StorageClass::global);
  check(storage != std::end(kStorages), "expected a type of storage, got \"", shown(id[1]->text),
        '"');
  return {storage->type, std::string(id[2]->text), id[4]->integer};
}

std::vector<int64_t> whole_numbers(const PickleNode& node) {
  const PickleNode& list = is_call_of(node, "torch.Size") && !node.items[1]->items.empty()
                               ? *node.items[1]->items[0]
                               : node;
  check(list.kind == Kind::sequence && list.items.size() <= Shape::kMaxRank,
        "expected a tuple of at most ", Shape::kMaxRank, " numbers");
  std::vector<int64_t> numbers;
  for (const PickleNode* item : list.items) {
    check(item->kind == Kind::integer && item->text.empty(),
          "expected whole numbers, got something else");
    numbers.push_back(item->integer);
  }
  return numbers;
}

/// Finds a storage's bytes by its key.
using FindStorage = std::function<Bytes(const std::string& key)>;

StoredTensor stored_tensor(const PickleNode& node, const FindStorage& find) {
  const PickleNode* call = &node;
  if (is_call_of(node, kParameter)) {
    check(!node.items[1]->items.empty(), "expected a parameter's tensor, got none");
    call = node.items[1]->items[0];
  }
  check(is_call_of(*call, kTensor) || is_call_of(*call, kOldTensor),
        "expected a tensor, got something else");
  const PickleNode::Items& a = call->items[1]->items;  // storage, offset, shape, strides, ..
  check(a.size() >= 4 && a[1]->kind == Kind::integer,
        "expected storage, offset, shape and strides, got something else");
  const StorageId id = storage_id(*a[0]);
  const Bytes bytes = find(id.key);
  check(bytes.size() / about(id.type).bytes >= static_cast<uint64_t>(id.count), "expected storage ",
        shown(id.key), " of ", id.count, " numbers, got ", bytes.size(), " bytes");
  return {.type = id.type,
          .shape = Shape(whole_numbers(*a[2])),
          .strides = whole_numbers(*a[3]),
          .offset = a[1]->integer,
          .bytes = bytes};
}

/// Bytes that tensors may take: storages may be shared, and numbers grow when they are widened, but
/// a file's weights are about as large as the file.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t file_bytes) : left_(16 * static_cast<double>(file_bytes) + 1e6) {}

  void spend(const StoredTensor& tensor) {
    left_ -= static_cast<double>(tensor.shape.size()) *
             static_cast<double>(size_of(about(tensor.type).dtype));
    check(left_ >= 0, "expected tensors of about the file's size, got far larger ones");
  }

 private:
  double left_;
};

std::string key_text(const PickleNode& key) {
  return key.kind == Kind::integer ? std::to_string(key.integer) : std::string(key.text);
}

bool holds_tensors(const PickleNode* node) {
  return node != nullptr && node->kind == Kind::dict &&
         std::ranges::any_of(node->items, [](const PickleNode* n) { return is_tensor(*n); });
}

/// The dict of tensors in `root`; notes where it was.
const PickleNode& state_of(const PickleNode& root, TorchFile& file, std::string_view what) {
  for (const std::string_view section : kSections) {
    const PickleNode* inner = find_key(root, section);
    if (!holds_tensors(inner)) continue;
    file.section = section;
    for (size_t i = 0; i + 1 < root.items.size(); i += 2)
      if (root.items[i + 1] != inner) file.left_out.push_back(key_text(*root.items[i]));
    return *inner;
  }
  check(holds_tensors(&root), what,
        ": expected a dict of tensors, or one under state_dict, model_state_dict or model");
  return root;
}

TorchFile tensors_of(const PickleNode& root, const FindStorage& find, size_t file_bytes,
                     std::string_view what) {
  TorchFile file;
  MemoryBudget budget(file_bytes);
  const auto take = [&](const std::string& name, const PickleNode& node) {
    try {
      const StoredTensor stored = stored_tensor(node, find);
      budget.spend(stored);
      file.tensors.push_back({name, stored.read()});
    } catch (const Error& error) {
      throw Error(str(what, ": \"", shown(name), "\": ", error.what()));
    }
  };
  if (is_tensor(root)) {
    take("tensor", root);
    return file;
  }
  const PickleNode& state = state_of(root, file, what);
  for (size_t i = 0; i + 1 < state.items.size(); i += 2) {
    const std::string name = key_text(*state.items[i]);
    if (is_tensor(*state.items[i + 1]))
      take(name, *state.items[i + 1]);
    else
      file.left_out.push_back(name);
  }
  return file;
}

FindStorage find_in(const std::map<std::string, Bytes>& storages, const std::string& folder) {
  return [&storages, folder](const std::string& key) {
    const auto found = storages.find(folder + key);
    check(found != storages.end(), "expected a storage ", shown(key), ", got none");
    return found->second;
  };
}

/// Says what an archive is that holds no state dict, where it is one of those that people have.
void expect_state_dict(const std::vector<ZipEntry>& entries, std::string_view what) {
  const auto arrays = std::ranges::count_if(
      entries, [](const ZipEntry& entry) { return entry.name.ends_with(".npy"); });
  check(arrays == 0 || std::cmp_less(arrays, entries.size()), what,
        ": expected one array of numpy (.npy), got an archive of ", arrays,
        " (.npz); numpy.save writes one");
  check(std::ranges::none_of(
            entries, [](const ZipEntry& entry) { return entry.name.ends_with("/constants.pkl"); }),
        what,
        ": expected a state dict, got a program of TorchScript; torch.save(torch.jit.load(FILE)"
        ".state_dict(), NEW) makes one of it");
  for (const ZipEntry& entry : entries)
    check(entry.method == 0, what, ": \"", shown(entry.name), "\" is compressed (method ",
          entry.method, "), expected it stored, as PyTorch writes it");
}

/// <root>/data.pkl, <root>/data/KEY for each storage, <root>/byteorder.
TorchFile parse_archive(Bytes bytes, std::string_view what) {
  std::map<std::string, Bytes> files;
  std::string root;
  const std::vector<ZipEntry> entries = read_zip(bytes, what);
  expect_state_dict(entries, what);
  for (const ZipEntry& entry : entries) {
    if (entry.name.ends_with("/data.pkl")) root = entry.name.substr(0, entry.name.size() - 8);
    files.emplace(entry.name, entry.data);
  }
  check(!root.empty(), what, ": expected a PyTorch archive with data.pkl, got another one");
  const auto order = files.find(root + "byteorder");
  check(order == files.end() || ByteReader(order->second, what).text(order->second.size()) != "big",
        what, ": expected little-endian numbers, got big-endian ones");

  const Pickle pickle(files.at(root + "data.pkl"), what, refusal_of);
  return tensors_of(pickle.root(), find_in(files, root + "data/"), bytes.size(), what);
}

/// Pickles one after another: a magic number, the protocol, the machine, the object, the storages'
/// keys; then each storage, its count of numbers first.
TorchFile parse_legacy(Bytes bytes, std::string_view what) {
  constexpr std::string_view kMagic = "\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
  ByteReader in(bytes, what);
  std::deque<Pickle> pickles;
  const auto next = [&]() -> const Pickle& {
    const size_t most = pickles.empty() ? Pickle::kMost : pickles.back().left();
    const Pickle& pickle =
        pickles.emplace_back(bytes.subspan(in.position()), what, refusal_of, most);
    in.take(pickle.size());
    return pickle;
  };
  const PickleNode& magic = next().root();
  check(magic.kind == Kind::integer && magic.text == kMagic, what,
        ": expected a file of PyTorch, got another pickle");
  const PickleNode& protocol = next().root();
  check(protocol.kind == Kind::integer && protocol.integer == 1001, what,
        ": expected protocol 1001 of PyTorch's files, got another");
  const PickleNode* little = find_key(next().root(), "little_endian");
  check(little == nullptr || little->integer == 1, what,
        ": expected little-endian numbers, got big-endian ones");
  const Pickle& object = next();
  const PickleNode& keys = next().root();
  check(keys.kind == Kind::sequence, what, ": expected the storages' keys, got something else");

  std::map<std::string, FileType> types;  // of which the list of keys says nothing
  try {
    for (const PickleNode& node : object.nodes()) {
      if (node.kind != Kind::persistent) continue;
      const StorageId id = storage_id(node);
      types.emplace(id.key, id.type);
    }
  } catch (const Error& error) {
    throw Error(str(what, ": ", error.what()));
  }
  std::map<std::string, Bytes> storages;
  for (const PickleNode* key : keys.items) {
    const std::string name = key_text(*key);
    const auto type = types.find(name);
    check(type != types.end(), what, ": storage ", shown(name), " is in no tensor");
    const auto count = in.number<uint64_t>();
    const size_t width = about(type->second).bytes;
    check(count <= in.left() / width, what, ": expected ", count, " numbers in storage ",
          shown(name), ", got ", in.left(), " bytes (the file is cut short)");
    storages[name] = in.take(count * width);
  }
  return tensors_of(object.root(), find_in(storages, ""), bytes.size(), what);
}

}  // namespace

TorchFile parse_torch(std::span<const std::byte> bytes, std::string_view what) {
  const bool archive =
      bytes.size() >= 2 && bytes[0] == std::byte{'P'} && bytes[1] == std::byte{'K'};
  return archive ? parse_archive(bytes, what) : parse_legacy(bytes, what);
}

TorchFile read_torch(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_torch(file.bytes(), path.string());
}

}  // namespace decant::nn
