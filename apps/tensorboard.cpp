#include "apps/tensorboard.h"

#include <array>
#include <bit>
#include <cmath>

#include "engine/core/error.h"
#include "nn/files/protobuf.h"

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

nn::Message image_message(const EventImage& image) {
  nn::Message message;
  message.integer(1, image.height);
  message.integer(2, image.width);
  message.integer(3, image.channels);
  message.text(4, image.png);
  return message;
}

std::string record(nn::Message event) {
  const auto masked = [](std::string_view bytes) {
    return little_endian(std::rotr(crc32c(bytes), 15) + 0xa282ead8);
  };
  const std::vector<std::byte> bytes = event.take();
  const std::string_view message(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string length = little_endian(uint64_t{message.size()});
  return str(length, masked(length), message, masked(message));
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return ~crc;
}

EventImage event_image(std::string tag, const data::Image& image) {
  return {.tag = std::move(tag),
          .width = image.width,
          .height = image.height,
          .channels = image.channels,
          .png = data::png_bytes(image)};
}

std::string event_file_head() {
  nn::Message event;
  event.real(1, 0.0);
  event.text(3, "brain.Event:2");
  return record(std::move(event));
}

std::string epoch_event(int64_t epoch, const std::vector<EventScalar>& scalars,
                        const std::vector<EventImage>& images) {
  nn::Message summary;
  for (const EventScalar& scalar : scalars) {
    if (!std::isfinite(scalar.value)) continue;
    nn::Message value;
    value.text(1, scalar.tag);
    value.real(2, static_cast<float>(scalar.value));
    summary.message(1, value);
  }
  for (const EventImage& image : images) {
    nn::Message value;
    value.text(1, image.tag);
    value.message(4, image_message(image));
    summary.message(1, value);
  }
  nn::Message event;
  event.real(1, static_cast<double>(epoch));
  event.integer(2, epoch);
  event.message(5, summary);
  return record(std::move(event));
}

std::string event_tag(std::string_view column) {
  for (const std::string_view group : {"train", "val"})
    if (column.starts_with(group) && column.substr(group.size()).starts_with("_"))
      return std::string(group) + "/" + std::string(column.substr(group.size() + 1));
  return "train/" + std::string(column);
}

}  // namespace decant::apps
