#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "nn/files/byte_writer.h"

namespace decant::nn {

/// A message of protocol buffers, as ONNX and TensorBoard have them, on its way into bytes: fields
/// one after another, each a number that says which field and what kind, then its value. Source:
/// protobuf.dev, "Encoding".
class Message {
 public:
  void integer(int field, int64_t value) {
    tag(field, kVarint);
    varint(static_cast<uint64_t>(value));
  }
  void real(int field, float value) {
    tag(field, kFixed32);
    out_.number(value);
  }
  void real(int field, double value) {
    tag(field, kFixed64);
    out_.number(value);
  }
  void bytes(int field, std::span<const std::byte> value) {
    tag(field, kLengthDelimited);
    varint(value.size());
    out_.put(value);
  }
  void text(int field, std::string_view value) { bytes(field, std::as_bytes(std::span(value))); }
  void message(int field, const Message& value) { bytes(field, value.out_.bytes()); }

  std::vector<std::byte> take() { return out_.take(); }

 private:
  enum Kind : uint8_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

  void tag(int field, Kind kind) { varint(static_cast<uint64_t>(field) << 3 | kind); }

  /// Seven bits at a time, the lowest first; the eighth says that more follow.
  void varint(uint64_t value) {
    for (; value > 0x7F; value >>= 7) out_.number(static_cast<uint8_t>(value | 0x80));
    out_.number(static_cast<uint8_t>(value));
  }

  ByteWriter out_;
};

}  // namespace decant::nn
