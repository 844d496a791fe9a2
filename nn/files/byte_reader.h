#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "engine/core/error.h"
#include "engine/core/shown.h"

namespace decant::nn {

/// Goes through bytes from front to back. No number that a file holds is used before it was held
/// against what is left: everything that leads beyond the end throws one Error that begins with
/// `what` and names the place.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view what)
      : bytes_(bytes), what_(what) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  void seek(uint64_t position) {
    check(position <= bytes_.size(), what_, ": expected something at byte ", position,
          ", the file ends at ", bytes_.size());
    position_ = position;
  }

  std::span<const std::byte> take(uint64_t count) {
    check(count <= left(), what_, ": expected ", count, " bytes at byte ", position_, ", got ",
          left(), " (the file is cut short)");
    const auto part = bytes_.subspan(position_, count);
    position_ += count;
    return part;
  }

  /// Little-endian.
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view text(uint64_t count) {
    const auto part = take(count);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  /// Up to the next line feed, which is taken and not returned.
  std::string_view line() {
    const auto rest = bytes_.subspan(position_);
    const auto end = std::ranges::find(rest, std::byte{'\n'});
    check(end != rest.end(), what_, ": expected the end of a line after byte ", position_);
    const std::string_view words = text(static_cast<uint64_t>(end - rest.begin()));
    ++position_;
    return words;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view what_;
  uint64_t position_ = 0;
};

}  // namespace decant::nn
