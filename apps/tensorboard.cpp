#include "apps/tensorboard.h"

#include <array>
#include <bit>
#include <cmath>

namespace decant::apps {
namespace {

constexpr auto kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
    table[byte] = crc;
  }
  return table;
}();

template <class T>
std::string little_endian(T bits) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(bits >> (8 * i) & 0xff);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes += static_cast<char>(value);
}

// The fields of a protobuf message: a key (number and wire type), then the value.
class Message {
 public:
  void integer(int field, int64_t value) {
    bytes_ += key(field, 0) + varint(static_cast<uint64_t>(value));
  }
  void real64(int field, double value) {
    bytes_ += key(field, 1) + little_endian(std::bit_cast<uint64_t>(value));
  }
  void real32(int field, float value) {
    bytes_ += key(field, 5) + little_endian(std::bit_cast<uint32_t>(value));
  }
  void bytes(int field, std::string_view value) {  // text and messages too
    bytes_.append(key(field, 2)).append(varint(value.size())).append(value);
  }
  const std::string& str() const { return bytes_; }

 private:
  static std::string key(int field, int wire_type) {
    return varint(static_cast<uint64_t>(field << 3 | wire_type));
  }

  std::string bytes_;
};

std::string image_message(const data::Image& image) {
  Message message;
  message.integer(1, image.height);
  message.integer(2, image.width);
  message.integer(3, image.channels);
  message.bytes(4, data::png_bytes(image));
  return message.str();
}

std::string record(const Message& event) {
  const auto masked = [](std::string_view bytes) {
    return little_endian(std::rotr(crc32c(bytes), 15) + 0xa282ead8);
  };
  const std::string length = little_endian(uint64_t{event.str().size()});
  return length + masked(length) + event.str() + masked(event.str());
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return ~crc;
}

std::string event_file_head() {
  Message event;
  event.real64(1, 0);
  event.bytes(3, "brain.Event:2");
  return record(event);
}

std::string epoch_event(int64_t epoch, const std::vector<EventScalar>& scalars,
                        const std::vector<EventImage>& images) {
  Message summary;
  for (const EventScalar& scalar : scalars) {
    if (!std::isfinite(scalar.value)) continue;
    Message value;
    value.bytes(1, scalar.tag);
    value.real32(2, static_cast<float>(scalar.value));
    summary.bytes(1, value.str());
  }
  for (const EventImage& image : images) {
    Message value;
    value.bytes(1, image.tag);
    value.bytes(4, image_message(image.image));
    summary.bytes(1, value.str());
  }
  Message event;
  event.real64(1, static_cast<double>(epoch));
  event.integer(2, epoch);
  event.bytes(5, summary.str());
  return record(event);
}

std::string event_tag(std::string_view column) {
  for (const std::string_view group : {"train", "val"})
    if (column.starts_with(group) && column.substr(group.size()).starts_with("_"))
      return std::string(group) + "/" + std::string(column.substr(group.size() + 1));
  return "train/" + std::string(column);
}

}  // namespace decant::apps
