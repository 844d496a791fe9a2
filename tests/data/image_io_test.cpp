#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

#include "data/image_io.h"
#include "engine/core/error.h"
#include "engine/io/atomic_file.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

// The 2 x 2 image white, black / black, black as a 24-bit BMP (rows from the bottom, padded to 4).
std::string small_bmp() {
  std::string s("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\2\0\0\0\2\0\0\0\1\0\x18\0", 30);
  s += std::string(24, '\0');
  s += std::string(8, '\0');
  return s + "\xFF\xFF\xFF" + std::string(5, '\0');
}

size_t files_in(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

}  // namespace

TEST_CASE("a written PNG reads back as it was, for 1 and 3 channels") {
  const TempFolder folder;
  for (const int channels : {1, 3}) {
    const Image image = random_image(37, 23, 5, channels);
    write_png(folder.at("a.png"), image);
    const Image back = read_image(folder.at("a.png"), channels);
    CHECK(back.width == 37);
    CHECK(back.height == 23);
    CHECK(back.pixels == image.pixels);
    CHECK(read_image_size(folder.at("a.png")) == ImageSize{37, 23});
  }
}

TEST_CASE("images come in the channels asked for, from PNG, BMP and JPEG under any name") {
  const TempFolder folder;
  write_bytes(folder.at("grey.png"), encode_png(2, 1, 8, 0, {"\x10\xF0"}));
  CHECK(read_image(folder.at("grey.png"), 3).pixels ==
        std::vector<uint8_t>{0x10, 0x10, 0x10, 0xF0, 0xF0, 0xF0});
  write_bytes(folder.at("rgba.png"), encode_png(1, 1, 8, 6, {std::string("\x09\x09\x09\x00", 4)}));
  CHECK(read_image(folder.at("rgba.png"), 1).pixels == std::vector<uint8_t>{9});
  write_bytes(folder.at("wrong_suffix.jpg"), small_bmp());
  CHECK(read_image(folder.at("wrong_suffix.jpg"), 1).pixels == std::vector<uint8_t>{255, 0, 0, 0});
  const std::vector<uint8_t> flat(16 * 16, 100);
  stbi_write_jpg(folder.at("a.jpeg").c_str(), 16, 16, 1, flat.data(), 95);
  for (const uint8_t v : read_image(folder.at("a.jpeg"), 1).pixels) CHECK(std::abs(v - 100) <= 2);
}

TEST_CASE("masks of every kind are read as 0 and 1") {
  const TempFolder folder;
  const std::vector<uint8_t> wanted = {1, 0, 0, 1};
  const auto read = [&](const std::string& bytes) {
    write_bytes(folder.at("m.png"), bytes);
    return read_mask(folder.at("m.png"));
  };
  CHECK(read(encode_png(4, 1, 1, 0, {"\x90"})).image.pixels == wanted);
  const std::string s01("\1\0\0\1", 4);
  CHECK(read(encode_png(4, 1, 8, 0, {s01})).image.pixels == wanted);
  const std::string s255("\xFF\0\0\xFF", 4);
  CHECK(read(encode_png(4, 1, 8, 0, {s255})).image.pixels == wanted);
  // 16 bits: 0 and 1, and 0 and 65535.
  CHECK(read(encode_png(4, 1, 16, 0, {std::string("\0\1\0\0\0\0\0\1", 8)})).image.pixels == wanted);
  CHECK(read(encode_png(4, 1, 16, 0, {std::string("\xFF\xFF\0\0\0\0\xFF\xFF", 8)})).image.pixels ==
        wanted);
  // A palette of black and white; green for one class and red for another.
  CHECK(read(encode_png(4, 1, 8, 3, {s01}, std::string("\0\0\0\xFF\xFF\xFF", 6))).image.pixels ==
        wanted);
  CHECK(read(encode_png(4, 1, 8, 2, {std::string("\0\xFF\0\0\0\0\0\0\0\xFF\0\0", 12)}))
            .image.pixels == wanted);
  // RGBA: opaque colours count; where only alpha varies, alpha does.
  CHECK(read(encode_png(4, 1, 8, 6,
                        {std::string("\xFF\xFF\xFF\xFF\0\0\0\xFF\0\0\0\xFF\xFF\xFF\xFF\xFF", 16)}))
            .image.pixels == wanted);
  CHECK(read(encode_png(4, 1, 8, 6, {std::string("\0\0\0\xFF\0\0\0\0\0\0\0\0\0\0\0\xFF", 16)}))
            .image.pixels == wanted);
  CHECK(read(encode_png(4, 1, 8, 6, {std::string("\0\0\0\xFF\0\0\0\xFF\0\0\0\xFF\0\0\0\xFF", 16)}))
            .image.pixels == std::vector<uint8_t>(4));
}

TEST_CASE("odd mask values are told, and those of open meaning called ambiguous") {
  const TempFolder folder;
  const auto values = [&](const std::string& row) {
    write_bytes(folder.at("m.png"), encode_png(static_cast<int>(row.size()), 1, 8, 0, {row}));
    return read_mask(folder.at("m.png")).values;
  };
  CHECK(values(std::string("\0\xFF\0\xFF", 4)).odd_share == 0);
  CHECK(values(std::string("\0\xFF\xF0\xFF", 4)).odd_share == 0.25);
  CHECK_FALSE(values(std::string("\0\xFF\xF0\xFF", 4)).ambiguous());
  CHECK(values(std::string("\0\2\3\2", 4)).ambiguous());
  CHECK(values(std::string("\2\2\2\2", 4)).ambiguous());
  CHECK(values(std::string("\x40\x80\0\xFF", 4)).ambiguous());
}

// As PASCAL VOC colours its classes: 1 is (128, 0, 0), in the middle of the range.
TEST_CASE("a mask of 0 and one other value means one thing, whatever the value and its share") {
  const TempFolder folder;
  const auto read = [&](const std::string& palette) {
    write_bytes(folder.at("m.png"), encode_png(4, 1, 8, 3, {std::string("\0\1\1\0", 4)}, palette));
    return read_mask(folder.at("m.png"));
  };
  for (const char value : {'\x80', '\x60', '\x02', '\xFF'}) {
    const Mask mask = read(std::string(3, '\0') + value + std::string(2, '\0'));
    CHECK_FALSE(mask.values.ambiguous());
    CHECK(mask.image.pixels == std::vector<uint8_t>{0, 1, 1, 0});
  }
  CHECK(read(std::string("\x40\0\0\x80\0\0", 6)).values.ambiguous());  // neither is 0
}

TEST_CASE("a bad image is an Error that names the file and the reason") {
  const TempFolder folder;
  const auto message = [&](const std::string& name) {
    return message_of([&] { read_image(folder.at(name), 3); });
  };
  write_png(folder.at("cut.png"), random_image(64, 64, 1));
  truncate_file(folder.at("cut.png"), 0.6);
  CHECK(contains(message("cut.png"), "truncated PNG"));
  CHECK(contains(message("cut.png"), folder.at("cut.png").string()));

  write_png(folder.at("flipped.png"), random_image(64, 64, 1));
  std::string bytes = read_bytes(folder.at("flipped.png"));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write_bytes(folder.at("flipped.png"), bytes);
  CHECK(contains(message("flipped.png"), "checksum"));

  const Image blotches = random_image(64, 64, 1);
  stbi_write_jpg(folder.at("cut.jpg").c_str(), 64, 64, 1, blotches.pixels.data(), 90);
  CHECK(message("cut.jpg").empty());
  truncate_file(folder.at("cut.jpg"), 0.7);
  CHECK(contains(message("cut.jpg"), "truncated JPEG"));

  // A BMP's rows come last: stb_image would fill the missing ones, a mask's with background.
  const std::string bmp = small_bmp();
  for (const size_t kept : {bmp.size() - 1, size_t{62}, size_t{54}, size_t{20}}) {
    write_bytes(folder.at("cut.bmp"), bmp.substr(0, kept));
    CHECK(contains(message("cut.bmp"), "truncated BMP"));
    CHECK(contains(message("cut.bmp"), folder.at("cut.bmp").string()));
    CHECK(contains(message_of([&] { read_mask(folder.at("cut.bmp")); }), "truncated BMP"));
    CHECK(contains(message_of([&] { read_image_size(folder.at("cut.bmp")); }), "truncated BMP"));
  }
  const auto changed = [&](size_t at, const std::string& to) {
    write_bytes(folder.at("odd.bmp"), std::string(bmp).replace(at, to.size(), to));
    return message("odd.bmp");
  };
  CHECK(contains(changed(10, "\x40"), "truncated BMP"));              // pixels begin later
  CHECK(contains(changed(22, "\xFD\xFF\xFF\xFF"), "truncated BMP"));  // 3 rows from the top
  CHECK(contains(changed(18, "\xFF\xFF\xFF\x7F"), "truncated BMP"));
  CHECK(contains(changed(30, "\1"), "run-length"));

  write_bytes(folder.at("text.png"), "this is a text under a wrong name");
  CHECK(contains(message("text.png"), "expected a PNG, JPEG or BMP"));
  write_bytes(folder.at("empty.png"), "");
  CHECK(contains(message("empty.png"), "empty"));
  CHECK(contains(message("missing.png"), "no such file"));
  CHECK(contains(message("."), "not a file"));
  // A header that promises 40000 x 40000 pixels must not make us ask for the memory.
  write_bytes(folder.at("huge.png"), encode_png(40000, 40000, 8, 0, {"x"}));
  CHECK(contains(message("huge.png"), "huge.png"));
  write_bytes(folder.at("large.png"), encode_png(30000, 30000, 8, 0, {"x"}));
  CHECK(contains(message("large.png"), "at most"));
}

TEST_CASE("a PNG may hold chunks that can be passed over, and no others that nobody knows") {
  const TempFolder folder;
  const std::string plain = encode_png(2, 1, 8, 0, {std::string("\1\2")});
  const auto message = [&](const std::string& name) {
    write_bytes(folder.at("a.png"),
                plain.substr(0, plain.size() - 12) + png_chunk(name, "12") + png_chunk("IEND", ""));
    return message_of([&] { read_image(folder.at("a.png"), 1); });
  };
  CHECK(message("tEXt").empty());
  CHECK(message("juNk").empty());
  for (const char* name : {"JuNk", "A\nBC", "\x1B[2J"}) {
    CHECK(contains(message(name), "damaged PNG, an unknown chunk"));
    CHECK_FALSE(contains(message(name), name));
  }
}

TEST_CASE("a JPEG's Huffman tables are looked for in its segments only, and must fit") {
  const TempFolder folder;
  const Image blotches = random_image(32, 32, 1);
  stbi_write_jpg(folder.at("a.jpg").c_str(), 32, 32, 1, blotches.pixels.data(), 90);
  const std::string plain = read_bytes(folder.at("a.jpg"));
  const auto message = [&](const std::string& segment, size_t at) {
    write_bytes(folder.at("b.jpg"), plain.substr(0, at) + segment + plain.substr(at));
    return message_of([&] { read_image(folder.at("b.jpg"), 1); });
  };
  // An APP15 segment whose 24 bytes look like a table of 16 x 255 codes.
  const std::string look_alike =
      std::string("\xFF\xEF\x00\x1A\xFF\xC4\x00\x14", 8) + '\0' + std::string(16, '\xFF') + "abc";
  REQUIRE(look_alike.size() == 28);
  CHECK(message(look_alike, 2).empty());
  CHECK(read_image(folder.at("b.jpg"), 1).pixels == read_image(folder.at("a.jpg"), 1).pixels);
  // A true one with 257 codes, as the first of two tables and as the second.
  const auto table = [](int extra) {  // 2 codes of 8 bits and `extra` of 16
    std::string counts(17, '\0');
    counts[8] = 2;
    counts[15] = static_cast<char>(extra / 2);
    counts[16] = static_cast<char>(extra - extra / 2);
    return counts + std::string(static_cast<size_t>(2 + extra), '\0');
  };
  const auto segment = [](const std::string& payload) {
    const size_t length = payload.size() + 2;
    return std::string("\xFF\xC4") + static_cast<char>(length >> 8) +
           static_cast<char>(length & 255) + payload;
  };
  CHECK(contains(message(segment(table(255)), 2), "Huffman table is too long"));
  CHECK(contains(message(segment(table(10) + table(255)), 2), "Huffman table is too long"));
  CHECK(contains(message(segment(table(255)), plain.size() - 2), "Huffman table is too long"));
  CHECK_FALSE(contains(message(segment(table(254)), 2), "too long"));
}

TEST_CASE("a header of an absurd size is answered with the size and the limit") {
  const TempFolder folder;
  const auto message = [&](int width, int height) {
    write_bytes(folder.at("a.png"), encode_png(width, height, 8, 0, {"x"}));
    return message_of([&] { read_image_size(folder.at("a.png")); });
  };
  for (const auto& [width, height] :
       {std::pair(100000, 100000), std::pair(20000, 20000), std::pair(2000000000, 3)}) {
    const std::string text = message(width, height);
    CAPTURE(text);
    CHECK(contains(text, str("a.png: expected at most 67108864 pixels and 32768 a side, got ",
                             width, " x ", height)));
  }
  CHECK(contains(message(32769, 1), "got 32769 x 1"));
  CHECK(message(32768, 1).empty());
  CHECK(message(8192, 8192).empty());
}

TEST_CASE("an atomic write leaves the old file and no temporary one where it fails") {
  const TempFolder folder;
  const auto file = folder.at("kept.txt");
  write_file_atomically(file, "first");
  CHECK(read_bytes(file) == "first");
  write_file_atomically(file, "second");
  CHECK(read_bytes(file) == "second");
  CHECK(files_in(folder.path()) == 1);

  // A limit on file size fails a write as a full disk does.
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message =
      message_of([&] { write_file_atomically(file, std::string(5000, 'x')); });
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(contains(message, file.string()));
  CHECK(read_bytes(file) == "second");
  CHECK(files_in(folder.path()) == 1);

  CHECK(contains(message_of([&] { write_file_atomically(folder.path() / "no" / "f", "x"); }),
                 "cannot create"));
  // The rename fails: a folder is in the way.
  std::filesystem::create_directories(folder.path() / "taken" / "inside");
  CHECK(contains(message_of([&] { write_file_atomically(folder.path() / "taken", "x"); }),
                 "cannot replace"));
  CHECK(files_in(folder.path()) == 2);

  if (geteuid() == 0) return;  // root may write anywhere
  std::filesystem::permissions(
      folder.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  CHECK(contains(message_of([&] { write_file_atomically(folder.path() / "new", "x"); }),
                 "cannot create"));
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
}
