#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace decant::nn {

/// Bytes written one after another, numbers little-endian: the other side of ByteReader.
class ByteWriter {
 public:
  size_t size() const { return bytes_.size(); }

  template <class T>
  void number(T value) {
    put(std::as_bytes(std::span(&value, 1)));
  }
  void text(std::string_view words) { put(std::as_bytes(std::span(words))); }
  void put(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const size_t at = bytes_.size();
    bytes_.resize(at + bytes.size());
    std::memcpy(bytes_.data() + at, bytes.data(), bytes.size());
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace decant::nn
