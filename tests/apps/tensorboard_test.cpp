// Event files, read back by a reader of the test's own.
#include "apps/tensorboard.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>

#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

constexpr const char* kEvents = "events.out.tfevents.0.decant";

template <class T>
T take(std::string_view& bytes) {
  REQUIRE(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

std::string_view take(std::string_view& bytes, size_t count) {
  REQUIRE(bytes.size() >= count);
  const std::string_view taken = bytes.substr(0, count);
  bytes.remove_prefix(count);
  return taken;
}

uint64_t take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<uint8_t>(bytes);
    value |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
}

// A field's bits where it is a number, its bytes where it is a text or a message.
struct Field {
  uint64_t bits = 0;
  std::string_view bytes;
};

std::multimap<uint64_t, Field> fields(std::string_view message) {
  std::multimap<uint64_t, Field> found;
  while (!message.empty()) {
    const uint64_t key = take_varint(message);
    Field field;
    switch (key & 7) {
      case 0:
        field.bits = take_varint(message);
        break;
      case 1:
        field.bits = take<uint64_t>(message);
        break;
      case 2:
        field.bytes = take(message, take_varint(message));
        break;
      case 5:
        field.bits = take<uint32_t>(message);
        break;
      default:
        FAIL("wire type ", key & 7);
    }
    found.emplace(key >> 3, field);
  }
  return found;
}

Field one(const std::multimap<uint64_t, Field>& of, uint64_t number) {
  REQUIRE(of.count(number) == 1);
  return of.find(number)->second;
}

uint32_t masked(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

std::vector<std::string_view> records(std::string_view file) {
  std::vector<std::string_view> found;
  while (!file.empty()) {
    std::string_view length = take(file, 8);
    CHECK(take<uint32_t>(file) == masked(length));
    found.push_back(take(file, take<uint64_t>(length)));
    CHECK(take<uint32_t>(file) == masked(found.back()));
  }
  return found;
}

struct Picture {
  uint64_t height, width, channels;
  std::string png;
};
struct Epoch {
  double wall_time = 0;
  uint64_t step = 0;
  std::map<std::string, double> scalars;
  std::map<std::string, Picture> pictures;
};

// The epochs of a whole file, after its head.
std::vector<Epoch> read_events(std::string_view file) {
  std::vector<Epoch> epochs;
  for (const std::string_view record : records(file)) {
    const auto event = fields(record);
    if (epochs.empty() && event.contains(3)) {
      CHECK(one(event, 3).bytes == "brain.Event:2");
      CHECK(one(event, 1).bits == 0);
      continue;
    }
    Epoch epoch{std::bit_cast<double>(one(event, 1).bits), one(event, 2).bits, {}, {}};
    for (const auto& [number, entry] : fields(one(event, 5).bytes)) {
      REQUIRE(number == 1);
      const auto value = fields(entry.bytes);
      const std::string tag(one(value, 1).bytes);
      if (value.contains(2)) {
        const auto bits = static_cast<uint32_t>(one(value, 2).bits);
        CHECK(epoch.scalars.emplace(tag, std::bit_cast<float>(bits)).second);
      } else {
        const auto image = fields(one(value, 4).bytes);
        epoch.pictures[tag] = {one(image, 1).bits, one(image, 2).bits, one(image, 3).bits,
                               std::string(one(image, 4).bytes)};
      }
    }
    epochs.push_back(std::move(epoch));
  }
  return epochs;
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> words(1);
  for (const char c : line)
    if (c == ',')
      words.emplace_back();
    else
      words.back() += c;
  return words;
}

}  // namespace

TEST_CASE("CRC-32C gives the values of RFC 3720, B.4") {
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(crc32c(rising) == 0x46dd794e);
  CHECK(crc32c(std::string(rising.rbegin(), rising.rend())) == 0x113fdb5c);
}

TEST_CASE("events hold what they were given, but no value that is not finite") {
  data::Image image(3, 2, 3);
  image.at(2, 1, 0) = 200;
  const double none = std::nan("");
  const auto epochs =
      read_events(event_file_head() + epoch_event(300, {{"a", 0.1}, {"none", none}, {"b", -2e30}},
                                                  {event_image("p", image)}));
  REQUIRE(epochs.size() == 1);
  CHECK(epochs[0].step == 300);
  CHECK(epochs[0].wall_time == 300);
  CHECK(epochs[0].scalars == std::map<std::string, double>{{"a", 0.1F}, {"b", -2e30F}});
  const Picture& picture = epochs[0].pictures.at("p");
  CHECK(picture.height == 2);
  CHECK(picture.width == 3);
  CHECK(picture.channels == 3);
  CHECK(picture.png == data::png_bytes(image));
}

TEST_CASE("a run's events are the figures of its metrics.csv and its previews, once per epoch") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  begin_and_kill(tiny_run() + std::vector<std::string>{"epochs=40"}, out);
  // What a process leaves that dies between its events and the commit.
  write_bytes(fs::path(out) / kEvents, bytes_of(fs::path(out) / kEvents) + epoch_event(99, {}, {}));
  REQUIRE(apps::decant({"train", "--resume", out}).code == 0);

  const auto epochs = read_events(bytes_of(fs::path(out) / kEvents));
  REQUIRE(epochs.size() == 40);
  std::istringstream csv(bytes_of(fs::path(out) / "metrics.csv"));
  std::string line;
  std::getline(csv, line);
  const auto columns = split(line);
  for (size_t i = 0; i < epochs.size(); ++i) {
    std::getline(csv, line);
    const auto row = split(line);
    CHECK(epochs[i].step == i + 1);
    CHECK(epochs[i].scalars.size() == columns.size() - 2);  // but epoch and step
    for (size_t c = 2; c < columns.size(); ++c)
      CHECK(epochs[i].scalars.at(event_tag(columns[c])) ==
            doctest::Approx(std::stod(row[c])).epsilon(1e-7));
    const bool drawn = i + 1 == 40 || (i & (i + 1)) == 0;
    CHECK(epochs[i].pictures.size() == (drawn ? 4 : 0));
  }
  for (const auto& [tag, picture] : epochs.back().pictures)
    CHECK(picture.png == bytes_of(fs::path(out) / (tag + ".png")));
}
