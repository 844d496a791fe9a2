#include "engine/io/safetensors.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/core/allocator.h"
#include "engine/io/file_type.h"

namespace decant {
namespace {

/// A file by hand: length, header, data.
std::vector<std::byte> file_of(const std::string& header, size_t data_bytes,
                               uint64_t header_bytes = 0) {
  if (header_bytes == 0) header_bytes = header.size();
  std::vector<std::byte> bytes(8 + header.size() + data_bytes);
  std::memcpy(bytes.data(), &header_bytes, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  for (size_t i = 0; i < data_bytes; ++i) bytes[8 + header.size() + i] = std::byte(i);
  return bytes;
}

std::string refusal(const std::vector<std::byte>& bytes) {
  try {
    parse_safetensors(bytes, "file");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("safetensors: a file written by hand is read") {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[2],"data_offsets":[12,14]},)"
      R"("a":{"dtype":"I32","shape":[1,3],"data_offsets":[0,12]},)"
      R"("e":{"dtype":"F32","shape":[0,4],"data_offsets":[14,14]}}   )";
  const TensorFile file = parse_safetensors(file_of(header, 14), "file");
  REQUIRE(file.tensors.size() == 3);
  CHECK(file.tensors[0].name == "b");  // the header's order
  CHECK(file.metadata.at("format") == "pt");
  CHECK(file.at("a").shape() == Shape{1, 3});
  CHECK(file.at("a").data<int32_t>()[1] == 0x07060504);
  CHECK(file.at("b").data<uint8_t>()[1] == 13);
  CHECK(file.at("e").size() == 0);
  CHECK(file.find("c") == nullptr);
  CHECK_THROWS_WITH_AS(file.at("c"), "safetensors: there is no tensor \"c\"", Error);
}

TEST_CASE("safetensors: half types become float32") {
  const std::string header = R"({"h":{"dtype":"F16","shape":[8],"data_offsets":[0,16]},)"
                             R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]}})";
  std::vector<std::byte> bytes = file_of(header, 20);
  // 1, -2, 65504 (the largest), 2^-24 (the smallest), 2^-14 (the smallest normal), 1/3, inf, -0
  const uint16_t half[8] = {0x3C00, 0xC000, 0x7BFF, 0x0001, 0x0400, 0x3555, 0x7C00, 0x8000};
  const uint16_t brain[2] = {0x3F80, 0xC049};  // 1, -3.140625
  std::memcpy(bytes.data() + 8 + header.size(), half, 16);
  std::memcpy(bytes.data() + 8 + header.size() + 16, brain, 4);
  const TensorFile file = parse_safetensors(bytes, "file");
  const float expected[8] = {
      1, -2, 65504, 0x1p-24F, 0x1p-14F, 0x1.554p-2F, std::numeric_limits<float>::infinity(), -0.0F};
  CHECK(std::ranges::equal(file.at("h").values<float>(), expected));
  CHECK(std::signbit(file.at("h").data<float>()[7]));
  CHECK(file.at("b").data<float>()[0] == 1);
  CHECK(file.at("b").data<float>()[1] == -3.140625F);
}

TEST_CASE("safetensors: what is written is read, aligned, and equal in whatever order it comes") {
  TensorFile file;
  file.tensors = {{"w", Tensor::of<float>({3}, {1, 2, 3})},
                  {"count", Tensor::of<int64_t>({}, {5})},
                  {"mask", Tensor::of<uint8_t>({1}, {1})},
                  {"x", Tensor::of<double>({1, 1}, {0.5})},
                  {"none", Tensor({0})}};
  file.metadata = {{"z", "1"}, {"a", "ein \"Wort\"\n\xC3\xA4"}};
  const std::vector<std::byte> bytes = safetensors_bytes(file);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  CHECK(header_bytes % 8 == 0);
  CHECK(bytes.size() == 8 + header_bytes + 8 + 8 + 12 + 1);
  double second = 0;  // wide types first: the scalar counter, then x
  std::memcpy(&second, bytes.data() + 8 + header_bytes + 8, 8);
  CHECK(second == 0.5);

  const TensorFile back = parse_safetensors(bytes, "file");
  REQUIRE(back.tensors.size() == 5);
  CHECK(back.metadata == file.metadata);
  for (const NamedTensor& written : file.tensors) {
    CHECK(back.at(written.name).shape() == written.tensor.shape());
    CHECK(back.at(written.name).dtype() == written.tensor.dtype());
  }
  CHECK(back.at("w").data<float>()[2] == 3);
  CHECK(back.at("count").item() == 5);
  CHECK(safetensors_bytes(back) == bytes);
  std::ranges::reverse(file.tensors);
  CHECK(safetensors_bytes(file) == bytes);
  file.tensors.push_back({"w", Tensor({1})});
  CHECK_THROWS_WITH_AS(safetensors_bytes(file), doctest::Contains("unique names"), Error);
}

// What safetensors 0.8.0, save(tensors, {"format": "pt"}) of the Python package, makes of these.
TEST_CASE("safetensors: the bytes are those of the reference writer") {
  const TensorFile file{
      .tensors = {{"w", Tensor::of<float>({1, 3}, {1, 2, 3})},
                  {"b.count", Tensor::of<int64_t>({}, {5})},
                  {"a", Tensor::of<double>({1}, {0.5})},
                  {"mask", Tensor::of<uint8_t>({3}, {1, 0, 1})},
                  {"i", Tensor::of<int32_t>({2}, {7, -1})},
                  {"b", Tensor::of<float>({1}, {4})},
                  {"none", Tensor({0, 4})}},
      .metadata = {{"format", "pt"}},
  };
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b.count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},)"
      R"("none":{"dtype":"F32","shape":[0,4],"data_offsets":[20,20]},)"
      R"("w":{"dtype":"F32","shape":[1,3],"data_offsets":[20,32]},)"
      R"("i":{"dtype":"I32","shape":[2],"data_offsets":[32,40]},)"
      R"("mask":{"dtype":"U8","shape":[3],"data_offsets":[40,43]}}    )";
  std::vector<std::byte> expected = file_of(header, 43);
  CHECK(expected[0] == std::byte{0xB0});
  CHECK(expected[1] == std::byte{0x01});
  constexpr uint8_t kData[] = {5,    0,    0, 0,    0,    0,    0,    0,    0,    0,    0,
                               0,    0,    0, 0xE0, 0x3F, 0,    0,    0x80, 0x40, 0,    0,
                               0x80, 0x3F, 0, 0,    0,    0x40, 0,    0,    0x40, 0x40, 7,
                               0,    0,    0, 0xFF, 0xFF, 0xFF, 0xFF, 1,    0,    1};
  std::memcpy(expected.data() + 8 + header.size(), kData, sizeof(kData));
  CHECK(safetensors_bytes(file) == expected);

  // Escapes: nothing but what JSON must escape, and that in its shortest form.
  const std::vector<std::byte> escaped =
      safetensors_bytes({{{"\xC3\xA4\"\n\x1F\x7F", Tensor::of<float>({1}, {1})}}, {}});
  std::vector<std::byte> as_there = file_of(
      "{\"\xC3\xA4\\\"\\n\\u001f\x7F\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[0,4]}}      ",
      4);
  constexpr float kOne = 1;
  std::memcpy(as_there.data() + as_there.size() - 4, &kOne, 4);
  CHECK(escaped == as_there);
}

TEST_CASE("safetensors: whole numbers of few bits are read as wider ones") {
  const std::string header = R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[12,14]},)"
                             R"("b":{"dtype":"I16","shape":[2],"data_offsets":[8,12]},)"
                             R"("c":{"dtype":"U16","shape":[2],"data_offsets":[4,8]},)"
                             R"("d":{"dtype":"U32","shape":[1],"data_offsets":[0,4]}})";
  std::vector<std::byte> bytes = file_of(header, 14);
  constexpr uint8_t kData[] = {0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0xFF, 0xFF, 1, 0, 0xFF, 0xFF, 1, 0xFF};
  std::memcpy(bytes.data() + 8 + header.size(), kData, sizeof(kData));
  const TensorFile file = parse_safetensors(bytes, "file");
  CHECK(file.at("a").data<int32_t>()[0] == 1);
  CHECK(file.at("a").data<int32_t>()[1] == -1);
  CHECK(file.at("b").data<int32_t>()[1] == -1);
  CHECK(file.at("c").data<int32_t>()[1] == 65535);
  CHECK(file.at("d").data<int64_t>()[0] == 4294967295);
}

TEST_CASE("a stored tensor is read by its strides, and never beyond its bytes") {
  const float numbers[] = {0, 1, 2, 3, 4, 5, 6, 7};
  const auto bytes = std::as_bytes(std::span(numbers));
  const auto values = [&](const Shape& shape, std::vector<int64_t> strides, int64_t offset) {
    const Tensor t = StoredTensor{FileType::f32, shape, std::move(strides), offset, bytes}.read();
    return std::vector<float>(t.values<float>().begin(), t.values<float>().end());
  };
  using Values = std::vector<float>;
  CHECK(values({2, 3}, {}, 1) == Values{1, 2, 3, 4, 5, 6});
  CHECK(values({3, 2}, {1, 3}, 2) == Values{2, 5, 3, 6, 4, 7});  // transposed
  CHECK(values({2, 2}, {4, 2}, 1) == Values{1, 3, 5, 7});        // every other
  CHECK(values({2, 2}, {0, 1}, 3) == Values{3, 4, 3, 4});        // expanded
  CHECK(values({1, 2, 1}, {99, 1, 99}, 0) == Values{0, 1});      // of single rows none is asked
  CHECK(values({}, {}, 7) == Values{7});
  CHECK(values({0, 5}, {5, 1}, 100).empty());

  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const auto refused = [&](const Shape& shape, std::vector<int64_t> strides, int64_t offset) {
    CHECK_THROWS_AS(values(shape, std::move(strides), offset), Error);
  };
  refused({9}, {}, 0);
  refused({8}, {}, 1);
  refused({}, {}, 8);
  refused({1}, {}, -1);
  refused({2}, {8}, 0);
  refused({2}, {-1}, 1);
  refused({2}, {kMost}, 7);
  refused({3}, {kMost}, 0);
  refused({2, 2}, {kMost, 1}, 0);
  refused({2, 2}, {1}, 0);
  refused({1}, {}, kMost);
}

TEST_CASE("safetensors: every damage is refused and named") {
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return str(R"("t":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets,
               "}");
  };
  const auto tensor = [&](const char* dtype, const char* shape, const char* offsets) {
    return str('{', entry(dtype, shape, offsets), '}');
  };
  struct Row {
    std::vector<std::byte> bytes;
    const char* reason;
  };
  const std::string good = tensor("F32", "[2]", "[0,8]");
  REQUIRE(refusal(file_of(good, 8)) == "accepted");
  const Row rows[] = {
      {{}, "got 0 bytes"},
      {std::vector<std::byte>(7), "got 7 bytes"},
      {std::vector<std::byte>(8), "no header"},
      {file_of("[]", 0), "no header"},
      {file_of(good, 8, 200'000'000), "no header"},
      {file_of(good, 8, ~uint64_t{0}), "no header"},
      {file_of(good, 8, 1000), "cut short"},
      {file_of("{\"t\":", 0), "header of JSON"},
      {file_of("{\"\xFF\xFE\":1}", 0), "header of JSON"},
      {file_of(good, 7), "cut short"},
      {file_of(good, 9), "expected 8 bytes of data, got 9"},
      {file_of(tensor("F32", "[2]", "[4,12]"), 12), "begins at byte 4"},
      {file_of(tensor("F32", "[2]", "[0,4]"), 4), "does not fill"},
      {file_of(tensor("F32", "[2]", "[8,0]"), 8), "does not fill"},
      {file_of(tensor("F32", "[2]", "[0,8,9]"), 8), "two data_offsets"},
      {file_of(tensor("F32", "[2]", "[0,8.0]"), 8), "whole numbers"},
      {file_of(tensor("F32", "[-2]", "[0,8]"), 8), "whole numbers"},
      {file_of(tensor("F32", "2", "[0,8]"), 8), "extents"},
      {file_of(tensor("F32", "[1,1,1,1,1,1,2]", "[0,8]"), 8), "extents"},
      {file_of(tensor("F32", "[4294967296,4294967296]", "[0,0]"), 0), "too large"},
      {file_of(tensor("F32", "[0,18446744073709551615]", "[0,0]"), 0), "too large"},
      {file_of(tensor("F8_E4M3", "[8]", "[0,8]"), 8), "of type F8_E4M3"},
      {file_of(tensor("f32", "[2]", "[0,8]"), 8), "of type f32"},
      {file_of(R"({"t":{"dtype":"F32","shape":[2]}})", 8), "expected dtype, shape"},
      {file_of(R"({"t":3})", 0), "expected dtype, shape"},
      {file_of(R"({"__metadata__":{"epoch":3}})", 0), "expected a string"},
      {file_of(R"({"__metadata__":[]})", 0), "object of strings"},
      {file_of(str('{', entry("F32", "[2]", "[0,8]"), ',', entry("F32", "[0]", "[8,8]"), '}'), 8),
       "\"t\" stands twice"},
      {file_of(str(R"({"s":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},)",
                   entry("F32", "[2]", "[0,8]"), '}'),
               12),
       "begins at byte 4 of the data, expected 8"},
  };
  for (const Row& row : rows) {
    const std::string message = refusal(row.bytes);
    CAPTURE(message);
    CAPTURE(row.reason);
    CHECK(message.starts_with("file: "));
    CHECK(contains(message, row.reason));
    CHECK_FALSE(contains(message, "\n"));
  }
}

// A quarter of a million brackets, which a reader that descends by calling itself cannot survive.
TEST_CASE("safetensors: deep nesting is refused") {
  constexpr size_t kDepth = 250'000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  for (const std::string& header :
       {str(R"({"t":)", deep, '}'), str(R"({"__metadata__":{"a":)", deep, "}}"),
        str(R"({"t":{"dtype":"F32","shape":)", deep, R"(,"data_offsets":[0,4]}})")}) {
    const std::string message = refusal(file_of(header, 4));
    CHECK(message.size() < 200);
    CHECK(contains(message, "file: expected a header nested at most"));
  }
}

TEST_CASE("safetensors: a refusal shows no more of the header than fits a line") {
  const std::string message =
      refusal(file_of(str(R"({"t":")", std::string(9999, 'x'), R"("})"), 0));
  CHECK(contains(message, "expected dtype, shape"));
  CHECK(message.size() < 300);
}

TEST_CASE("safetensors: text that is no UTF-8 is not written, and its place is named") {
  TensorFile file;
  file.metadata = {{"note", "caf\xE9"}};
  CHECK_THROWS_WITH_AS(safetensors_bytes(file),
                       "safetensors: expected UTF-8 text for metadata \"note\", got \"caf\\ufffd\"",
                       Error);
  file.metadata = {{"caf\xE9", "note"}};
  CHECK_THROWS_WITH_AS(safetensors_bytes(file), doctest::Contains("a metadata key"), Error);
  file.metadata.clear();
  file.tensors = {{"w\xFF", Tensor({1})}};
  CHECK_THROWS_WITH_AS(safetensors_bytes(file), doctest::Contains("a tensor's name"), Error);
}

TEST_CASE("safetensors: what a file calls its tensors cannot steer a terminal") {
  const std::string message =
      refusal(file_of(str("{\"w\\u001b[2J\\u009b", std::string(5000, 'x'),
                          R"(":{"dtype":"F32","shape":[2],)", R"("data_offsets":[0,4]}})"),
                      4));
  CHECK(contains(message, "\"w\\x1b[2J\\xc2\\x9bxxx"));
  CHECK(message.size() < 300);
}

// Processor time, which other programs do not lengthen: four times the names take some four times
// as long, sixteen times where each is looked for among all.
TEST_CASE("safetensors: time grows with the number of tensors, not with its square") {
  const auto seconds = [](int count) {
    TensorFile file;
    for (int i = 0; i < count; ++i)
      file.tensors.push_back({str("layer.", i, ".weight"), Tensor::zeros({})});
    const std::clock_t start = std::clock();
    CHECK(parse_safetensors(safetensors_bytes(file), "file").tensors.size() == file.tensors.size());
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  seconds(1000);
  CHECK(seconds(64'000) < 10 * seconds(16'000));
}

// Half a terabyte, of which the disk holds a page.
TEST_CASE("safetensors: a file that memory cannot hold is refused by name, not by the system") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / str("decant_", ::getpid(), "_huge.safetensors");
  constexpr uint64_t kHuge = uint64_t{1} << 39U;
  const auto refusal_of = [&](const std::string& header) {
    const std::vector<std::byte> bytes = file_of(header, 0);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    std::filesystem::resize_file(path, kHuge);
    std::string message = "accepted";
    try {
      read_safetensors(path);
    } catch (const Error& error) {
      message = error.what();
    }
    std::filesystem::remove(path);
    return message;
  };
  CHECK(refusal_of("") == path.string() + ": not a safetensors file (no header at byte 8)");
  CHECK(contains(refusal_of(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"),
                 "expected 8 bytes of data, got 5497558138"));
  // All is in order but the size. The header is padded to a length of two digits.
  std::string header =
      R"({"t":{"dtype":"U8","shape":[549755813792],"data_offsets":[0,549755813792]}})";
  header.resize(88, ' ');
  cpu_memory::set_limit(uint64_t{1} << 36U);
  const std::string message = refusal_of(header);
  cpu_memory::set_limit(0);
  CHECK(message.starts_with(path.string() + ": cannot read \"t\" of U8 [549755813792]: allocate:"));
}

TEST_CASE("safetensors: a tensor of a type that files do not hold is refused by name") {
  TensorFile file;
  file.tensors = {{"w", Tensor({1}, DType::bf16)}};
  CHECK_THROWS_WITH_AS(safetensors_bytes(file),
                       "safetensors: expected \"w\" of float32, float64, int32, int64 or uint8, "
                       "got bfloat16",
                       Error);
}

TEST_CASE("safetensors: half types are read in parts") {
  constexpr size_t kCount = 150'001;  // several buffers and a rest
  const std::string header = str(R"({"h":{"dtype":"BF16","shape":[)", kCount,
                                 R"(],"data_offsets":[0,)", 2 * kCount, "]}}");
  std::vector<std::byte> bytes = file_of(header, 2 * kCount);
  for (size_t i = 0; i < kCount; ++i) {
    const auto bits = static_cast<uint16_t>(0x3F80 + i % 1000);
    std::memcpy(bytes.data() + 8 + header.size() + 2 * i, &bits, 2);
  }
  const TensorFile file = parse_safetensors(bytes, "file");
  const auto values = file.at("h").values<float>();
  size_t wrong = 0;
  for (size_t i = 0; i < kCount; ++i)
    wrong += values[i] != std::bit_cast<float>(static_cast<uint32_t>(0x3F80 + i % 1000) << 16U);
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: no prefix of a file is taken for a file") {
  TensorFile file;
  file.tensors = {{"w", Tensor::of<float>({3}, {1, 2, 3})}};
  const std::vector<std::byte> bytes = safetensors_bytes(file);
  for (size_t length = 0; length < bytes.size(); ++length)
    CHECK(refusal({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}) !=
          "accepted");
}

}  // namespace
}  // namespace decant
