// Files of other programs: what PyTorch and numpy wrote is read, what we write is read back, and
// whatever is wrong with a file is told in one line. tests/nn/corpus holds files that they wrote:
//   zip.pt, legacy.pt   torch 2.15, {"epoch": 3, "state_dict": .., "best": 0.5} in both forms; w is
//                       a transposed view, a and b are slices of one storage
//   fortran.npy         numpy 2, arange(6) as [2, 3] in Fortran order

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "engine/core/rng.h"
#include "engine/io/mapped_file.h"
#include "nn/files/npy.h"
#include "nn/files/tensor_file.h"
#include "nn/files/torch_file.h"
#include "nn/files/zip.h"

namespace decant::nn {
namespace {

using Bytes = std::vector<std::byte>;
using namespace std::string_literals;

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Bytes corpus(const char* name) {
  const MappedFile file(std::filesystem::path(DECANT_SOURCE_DIR "/tests/nn/corpus") / name);
  return {file.bytes().begin(), file.bytes().end()};
}

std::string refusal(const Bytes& bytes) {
  try {
    parse_tensors(bytes, "file");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// A PyTorch archive of that pickle and one storage of eight float32.
Bytes archive_of(std::string_view pickle) {
  static const Bytes storage(32);
  const Bytes data = bytes_of(pickle);
  return zip_bytes({{"a/data.pkl", data}, {"a/data/0", storage}});
}

/// The pickle of {"w": a tensor} with these words for offset, shape and strides.
std::string tensor_pickle(const std::string& place, const std::string& count = "K\x08",
                          const std::string& storage = "ctorch\nFloatStorage\n") {
  return "\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"s + storage +
         "X\x01\0\0\0"
         "0X\x03\0\0\0"
         "cpu"s +
         count + "tQ" + place + "\x89}tRs."s;
}

TEST_CASE("files that PyTorch wrote give the tensors that it held, in both forms") {
  for (const char* name : {"zip.pt", "legacy.pt"}) {
    CAPTURE(name);
    const Tensors file = parse_tensors(corpus(name), name);
    const auto values = [&](const char* tensor) {
      const auto v = file.at(tensor).values<float>();
      return std::vector<float>(v.begin(), v.end());
    };
    using Values = std::vector<float>;
    REQUIRE(file.tensors.size() == 7);
    CHECK(file.at("w").shape() == Shape{3, 2});
    CHECK(values("w") == Values{1, 4, 2, 5, 3, 6});
    CHECK(values("a") == Values{2, 3, 4});
    CHECK(values("b") == Values{0, 2, 4, 6});
    CHECK(values("h") == Values{1.5F, -2});
    CHECK(values("p") == Values{9});
    CHECK(file.at("n").shape() == Shape{});
    CHECK(file.at("n").item() == 7);
    CHECK(file.at("flag").data<uint8_t>()[0] == 1);
    CHECK(file.remarks ==
          std::vector<std::string>{"taken from under \"state_dict\"", "left out: epoch, best"});
  }
}

TEST_CASE("what is written as PyTorch's or numpy's comes back") {
  const std::vector<NamedTensor> tensors = {{"w", Tensor::of<float>({2, 1, 2}, {1, 2, 3, 4})},
                                            {"n", Tensor::of<int64_t>({}, {-5})},
                                            {"d", Tensor::of<double>({1}, {0.1})},
                                            {"i", Tensor::of<int32_t>({2}, {1, -1})},
                                            {"u", Tensor::of<uint8_t>({3}, {1, 2, 255})},
                                            {"none", Tensor({0, 3})}};
  const Bytes torch = torch_bytes(tensors);
  const Tensors back = parse_tensors(torch, "file");
  REQUIRE(back.tensors.size() == tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    CHECK(back.tensors[i].name == tensors[i].name);
    const Bytes one = npy_bytes(tensors[i].tensor);
    CHECK(one.size() % (tensors[i].tensor.size() == 0 ? 64 : 1) == 0);
    for (const Tensor& read : {back.tensors[i].tensor, parse_tensors(one, "file").at("array")}) {
      CHECK(read.shape() == tensors[i].tensor.shape());
      CHECK(read.dtype() == tensors[i].tensor.dtype());
      with_type(read.dtype(), [&]<class T>() {
        CHECK(std::ranges::equal(read.values<T>(), tensors[i].tensor.values<T>()));
      });
    }
  }
  CHECK(torch_bytes(back.tensors) == torch);
  CHECK_THROWS_WITH_AS(torch_bytes({{"w", Tensor({1})}, {"w", Tensor({1})}}),
                       doctest::Contains("unique names"), Error);
  CHECK_THROWS_WITH_AS(torch_bytes({{"w", Tensor({1}, DType::bf16)}}),
                       doctest::Contains("\"w\" of float32"), Error);
}

TEST_CASE("numpy's header is read in any order, its data in both orders") {
  const Tensor array = parse_tensors(corpus("fortran.npy"), "file").at("array");
  CHECK(array.shape() == Shape{2, 3});
  CHECK(std::ranges::equal(array.values<float>(), std::vector<float>{0, 1, 2, 3, 4, 5}));
  const std::string header = "{\"shape\": (2,), 'fortran_order':False,'descr':'|u1'}\n";
  const Bytes other =
      bytes_of("\x93NUMPY\x02\0"s + std::string(1, static_cast<char>(header.size())) + "\0\0\0"s +
               header + "\x07\x08");
  CHECK(parse_npy(other, "file").data<uint8_t>()[1] == 8);
}

TEST_CASE("module. and model. are offered for stripping where every name has them") {
  std::vector<NamedTensor> tensors = {{"module.a", Tensor({1})}, {"module.b", Tensor({1})}};
  CHECK(common_prefix(tensors) == "module.");
  strip_prefix(tensors, "module.");
  CHECK(tensors[1].name == "b");
  CHECK(common_prefix(tensors).empty());
  CHECK_THROWS_WITH_AS(strip_prefix(tensors, "model."), doctest::Contains("got \"a\""), Error);
  tensors = {{"module.model.a", Tensor({1})}, {"module.model.b", Tensor({1})}};
  CHECK(strip_common_prefixes(tensors) == "module.model.");
  CHECK(tensors[0].name == "a");
  CHECK(strip_common_prefixes(tensors).empty());
}

struct Row {
  Bytes bytes;
  const char* reason;
};

void check_refused(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const std::string message = refusal(row.bytes);
    CAPTURE(row.reason);
    CAPTURE(message);
    CHECK(message.starts_with("file: "));
    CHECK(contains(message, row.reason));
    CHECK(message.size() < 400);
    CHECK(std::ranges::all_of(message, [](char c) { return c >= ' ' && c <= '~'; }));
  }
}

TEST_CASE("a pickle that asks for a function of Python is refused by its name, and runs nothing") {
  check_refused({
      {archive_of("\x80\x02"
                  "cposix\nsystem\nX\x02\0\0\0lstR."s),
       "\"posix.system\""},
      {archive_of("\x80\x02"
                  "cos\nsystem\nX\x02\0\0\0ls\x85R."s),
       "\"os.system\""},
      {archive_of("\x80\x04\x8C\x02os\x8C\x06system\x93."s), "\"os.system\""},  // STACK_GLOBAL
      {archive_of("(S'ls'\nios\nsystem\n."s), "unknown instruction 83"},
      {archive_of("(ios\nsystem\n."s), "\"os.system\""},  // INST
      {archive_of("\x80\x02"
                  "c__builtin__\neval\n."s),
       "\"__builtin__.eval\""},
      {archive_of("\x80\x02"
                  "cbuiltins\ngetattr\n."s),
       "\"builtins.getattr\""},
      {archive_of("\x80\x02"
                  "ctorchvision.models.resnet\nResNet\n."s),
       "save its state_dict"},
      {archive_of("\x80\x02"
                  "cos\n\x1B[2Jsystem\n."s),
       "\"os.\\x1b[2Jsystem\""},
      {bytes_of("cos\nsystem\n(S'ls'\ntR."), "\"os.system\""},
      {bytes_of("\x80\x04\x95\x05\0\0\0\0\0\0\0\x8C\x05posix\x8C\x06system\x93."s),
       "\"posix.system\""},
  });
  CHECK(contains(refusal(archive_of("\x80\x02"
                                    "cos\nsystem\n."s)),
                 "nothing of it was run"));
}

TEST_CASE("of tensors and archives that are none of a state dict's the kind is named") {
  const auto asking = [](const std::string& name) {
    return archive_of("\x80\x02" + ("c" + name) + "\n.");
  };
  check_refused({
      {asking("torch._utils\n_rebuild_sparse_tensor"), "a sparse tensor"},
      {asking("torch._utils\n_rebuild_qtensor"), "a quantized tensor"},
      {asking("torch._utils\n_rebuild_tensor_v3"), "float8"},
      {asking("torch\nfloat8_e4m3fn"), "a tensor of float8"},
      {asking("torch\nComplexFloatStorage"), "complex numbers"},
      {zip_bytes({{"a/constants.pkl", {}}, {"a/code/a.py", {}}, {"a/data.pkl", {}}}),
       "a program of TorchScript"},
      {zip_bytes({{"x.npy", {}}, {"y.npy", {}}}), "an archive of 2 (.npz)"},
      {bytes_of("these are no weights"), "begins with \"these ar\""},
  });
}

TEST_CASE("every damage of a PyTorch file is refused and named") {
  REQUIRE(refusal(archive_of(tensor_pickle("K\0K\x02\x85K\x01\x85"s))) == "accepted");
  const auto archive = [](const std::string& place) { return archive_of(tensor_pickle(place)); };
  const std::string big = "\x8A\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"s;  // 2^63 - 1
  std::string deep = "\x80\x02N"s;
  deep += std::string(250'000, '\x85') + ".";
  const Bytes good = archive("K\0K\x02\x85K\x01\x85"s);
  Bytes packed = good;
  // Methods: of the local header, which nobody reads, and of the directory's entry.
  const std::string_view text(reinterpret_cast<const char*>(good.data()), good.size());
  packed[text.find("PK\x01\x02") + 10] = std::byte{8};
  Bytes flipped = good;  // in the storage, whose zeros any reader would take for weights
  flipped[text.find("a/data/0") + 8] = std::byte{1};
  Bytes unsummed = flipped;  // a checksum of 0 is one that was not computed
  std::fill_n(unsummed.begin() + static_cast<std::ptrdiff_t>(text.rfind("PK\x01\x02") + 16), 4,
              std::byte{0});
  CHECK(refusal(unsummed) == "accepted");
  // A directory that names one file's 1000 bytes three times over.
  const std::vector<std::byte> thousand(1000);
  const Bytes one = zip_bytes({{"a/0", thousand}});
  const std::string_view of_one(reinterpret_cast<const char*>(one.data()), one.size());
  const auto directory = static_cast<std::ptrdiff_t>(of_one.find("PK\x01\x02"));
  const auto end = static_cast<std::ptrdiff_t>(of_one.find("PK\x05\x06"));
  Bytes thrice(one.begin(), one.begin() + directory);
  for (const char name : {'0', '1', '2'}) {
    thrice.insert(thrice.end(), one.begin() + directory, one.begin() + end);
    thrice.back() = static_cast<std::byte>(name);
  }
  thrice.insert(thrice.end(), one.begin() + end, one.end());
  const size_t counts = thrice.size() - static_cast<size_t>(one.end() - (one.begin() + end)) + 8;
  thrice[counts] = thrice[counts + 2] = std::byte{3};
  thrice[counts + 4] = static_cast<std::byte>(3 * (end - directory));
  Bytes encrypted = good;
  encrypted[text.find("PK\x01\x02") + 8] = std::byte{1};
  check_refused({
      {{}, "an empty one"},
      {bytes_of("PK"), "expected a zip archive, got 2 bytes"},
      {bytes_of("PK\x03\x04" + std::string(40, ' ')), "directory at the end, got none"},
      {{good.begin(), good.end() - 1}, "directory at the end, got none"},
      {packed, "\"a/data.pkl\" is compressed (method 8)"},
      {flipped, "\"a/data/0\" is damaged: expected the checksum 190a55ad, got "},
      {encrypted, "\"a/data.pkl\" is encrypted"},
      {thrice, "\"a/1\" and the entries before it are larger than the file: they overlap"},
      {zip_bytes({{"a/data.pkl", {}}, {"a/data.pkl", {}}}), "stands in the archive twice"},
      {zip_bytes({{"a/b", {}}}), "with data.pkl"},
      {archive_of(""), "expected 1 bytes"},
      {archive_of("\x80\x02"s), "cut short"},
      {archive_of("\x80\x09"s), "protocol 5 at most, got 9"},
      {archive_of("\x80\x02."s), "expected 1 values on the pickle's stack"},
      {archive_of("\x80\x02t."s), "expected a mark"},
      {archive_of("\x80\x02}(0."s), "expected 1 values"},
      {archive_of("\x80\x02h\x07."s), "memo at 7"},
      {archive_of("\x80\x02X\xFF\xFF\xFF\xFFw."s), "expected 4294967295 bytes"},
      {archive_of("\x80\x02}K\x01"
                  "a."s),
       "expected a list"},
      {archive_of("\x80\x02]K\x01K\x02s."s), "expected a dict"},
      {archive_of("\x80\x02}(K\x01u."s), "keys with values"},
      {archive_of("\x80\x02K\x01K\x02R."s), "a name and its arguments"},
      {archive_of("\x80\x02\xFF."s), "unknown instruction 255 at byte 2"},
      {archive_of("\x80\x02}."s), "expected a dict of tensors"},
      {archive_of(deep), "expected a dict of tensors"},
      {archive_of("\x80\x02" + std::string(5'000'000, 'N')), "4194304 instructions"},
      {archive("K\x07K\x02\x85K\x01\x85"s), "offset and strides lead beyond"},
      {archive("K\0K\x09\x85K\x01\x85"s), "offset and strides lead beyond"},
      {archive("K\0K\x02\x85K\x08\x85"s), "offset and strides lead beyond"},
      {archive("K\0K\x02\x85"s + big + "\x85"), "offset and strides lead beyond"},
      {archive(big + "K\x02\x85K\x01\x85"s), "offset and strides lead beyond"},
      {archive("J\xFF\xFF\xFF\xFFK\x02\x85K\x01\x85"s), "offset and strides lead beyond"},
      {archive("K\0J\xFF\xFF\xFF\xFF\x85K\x01\x85"s), "extents of at least 0"},
      {archive("K\0"s + big + "\x85K\0\x85"s), "fewer than 2^56"},
      {archive("K\0J\0\0\0\x40\x85K\0\x85"s), "about the file's size"},
      {archive("K\0K\x02\x85K\x01K\x01\x86"s), "a stride for each axis"},
      {archive("K\0NK\x01\x85"s), "a tuple of at most"},
      {archive("K\0N\x85K\x01\x85"s), "expected whole numbers"},
      {archive("NK\x02\x85K\x01\x85"s), "storage, offset, shape and strides"},
      {archive_of(tensor_pickle("K\0K\x02\x85K\x01\x85"s, "K\x09")), "storage 0 of 9 numbers"},
      {archive_of(tensor_pickle("K\0K\x02\x85K\x01\x85"s, "K\x08", "ctorch\nSize\n")),
       "a type of storage, got \"torch.Size\""},
  });
}

TEST_CASE("every damage of a legacy PyTorch file and of a numpy file is refused and named") {
  const Bytes good = corpus("legacy.pt");
  const auto with = [&](size_t at, uint8_t value) {
    Bytes bytes = good;
    bytes[at] = std::byte{value};
    return bytes;
  };
  const auto npy = [](const std::string& header, size_t data = 0) {
    return bytes_of("\x93NUMPY\x01\0"s + std::string(1, static_cast<char>(header.size())) + "\0"s +
                    header + std::string(data, ' '));
  };
  // Two pickles that are each within what one may need, and together are not.
  const Bytes many = bytes_of("\x80\x02" + std::string(3'000'000, 'N') + ".");
  Bytes long_ones(good.begin(), good.begin() + 21);  // the magic number and the protocol
  for (int i = 0; i < 2; ++i) long_ones.insert(long_ones.end(), many.begin(), many.end());
  check_refused({
      {long_ones, "pickles of at most 4194304 instructions"},
      {with(4, 0), "expected a file of PyTorch, got another pickle"},
      {{good.begin(), good.begin() + 15}, "cut short"},
      {with(18, 0), "protocol 1001"},
      {{good.begin(), good.end() - 1}, "cut short"},
      {{good.begin(), good.end() - 40}, "cut short"},
      {bytes_of("\x93NUMPY"), "cut short"},
      {bytes_of("\x93NUMPX  "), "safetensors, PyTorch (.pt, .pth) or numpy (.npy)"},
      {bytes_of("\x93NUMPY\x09\0\0\0"s), "version 1 to 3"},
      {npy(""), "expected '{'"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7),
       "8 bytes for [2], got 7"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9),
       "8 bytes for [2], got 9"},
      {npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8), "little-endian"},
      {npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 8), "an array of \"|O\""},
      {npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8), "an array of \"<c8\""},
      {npy("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }", 8), "True or False"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8), "a shape of at most"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8),
       "a shape of at most"},
      {npy("{'descr': '<f4', 'fortran_order': True, 'shape': (4611686018427387904,2), }", 8),
       "fewer than 2^56"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1), }", 4),
       "a shape of at most"},
      {npy("{'descr': '<f4', 'shape': (2,), }", 8), "expected a header of"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 8), "got \"x\""},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} more", 8),
       "expected a header of"},
      {npy("{'descr: ", 8), "the end of a name"},
  });
}

/// Bytes changed at random places: some set, some pieces cut out or doubled.
Bytes damaged(Bytes bytes, const Rng& rng) {
  const auto below = [&](uint64_t draw, size_t n) {
    return static_cast<size_t>(rng.uniform(draw, 0, static_cast<double>(n)));
  };
  for (uint64_t k = 0; k <= below(0, 4); ++k) {
    if (bytes.empty()) break;
    const size_t at = below(10 * k + 1, bytes.size());
    const size_t length = std::min(bytes.size() - at, below(10 * k + 2, 9));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(10 * k + 3, 5)) {
      case 0:
        bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(length));
        break;
      case 1: {
        const Bytes piece(begin, begin + static_cast<std::ptrdiff_t>(length));
        bytes.insert(begin, piece.begin(), piece.end());
        break;
      }
      case 2:
        bytes.resize(at);
        break;
      case 3:
        std::fill_n(begin, length, below(10 * k + 4, 2) == 0 ? std::byte{0} : std::byte{0xFF});
        break;
      default:
        *begin = static_cast<std::byte>(below(10 * k + 4, 256));
    }
  }
  return bytes;
}

// Whatever a file says, a reader either reads it or throws an Error in one line. What it must not
// do (leave its bytes, overflow, ask for absurd memory, recurse without end) the sanitizers see.
TEST_CASE("readers survive damaged files") {
  constexpr uint64_t kRounds = 4000;
  const std::vector<std::pair<const char*, Bytes>> seeds = {
      {"zip", corpus("zip.pt")},
      {"pickle", bytes_of(tensor_pickle("K\0K\x02\x85K\x01\x85"s))},
      {"legacy", corpus("legacy.pt")},
      {"own zip", torch_bytes({{"a.weight", Tensor::of<float>({1, 2}, {1, 2})}})},
      {"npy", corpus("fortran.npy")},
      {"safetensors", safetensors_bytes({{{"a", Tensor::of<float>({2}, {1, 2})},
                                          {"b", Tensor::of<int64_t>({}, {3})}},
                                         {{"format", "pt"}}})}};
  // A checksum keeps an archive's damage from its pickle: that is damaged before it is packed.
  const std::string packed = "pickle";
  const auto refusal_of = [&](const std::string& name, const Bytes& bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return name == packed ? refusal(archive_of(text)) : refusal(bytes);
  };
  for (const auto& [name, seed] : seeds) {
    CAPTURE(name);
    REQUIRE(refusal_of(name, seed) == "accepted");
    int refused = 0;
    for (uint64_t round = 0; round < kRounds; ++round) {
      CAPTURE(round);
      const Rng rng(RngKey::of(round, name));
      const std::string message = refusal_of(name, damaged(seed, rng));
      if (message == "accepted") continue;
      ++refused;
      if (!message.starts_with("file: ") || contains(message, "\n")) FAIL_CHECK(message);
    }
    CHECK(refused > 0);
    CHECK(refused < static_cast<int>(kRounds));  // the damage is not always where it shows
  }
}

}  // namespace
}  // namespace decant::nn
