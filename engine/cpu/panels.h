#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/core/allocator.h"
#include "engine/cpu/kernels.h"

namespace decant::cpu {

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Uninitialised floats for the time of a call; null where there are none. They come from the
/// tensors' allocator, so that a training step takes nothing from the operating system.
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : bytes_(static_cast<size_t>(size) * sizeof(float)),
        data_(size > 0 ? static_cast<float*>(cpu_memory::allocate(bytes_)) : nullptr) {}
  ~Scratch() {
    if (data_ != nullptr) cpu_memory::release(data_, bytes_);
  }
  Scratch(Scratch&& other) noexcept
      : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* data() { return data_; }
  const float* data() const { return data_; }

 private:
  size_t bytes_;
  float* data_;
};

/// How the columns of a matrix b [depth, columns] are packed for the kernels: panels of max_width
/// columns, the last one as wide as the remaining columns need, rounded up to whole vectors. A
/// panel lies as [depth, width].
class Panels {
 public:
  Panels(const Kernels& kernels, int64_t columns)
      : columns_(columns), lanes_(kernels.lanes), max_width_(kernels.max_width) {}

  int64_t count() const { return ceil_div(columns_, max_width_); }
  int64_t first(int64_t panel) const { return panel * max_width_; }
  int64_t columns(int64_t panel) const { return std::min(max_width_, columns_ - first(panel)); }
  int64_t width(int64_t panel) const { return ceil_div(columns(panel), lanes_) * lanes_; }
  int64_t padded_columns() const { return ceil_div(columns_, lanes_) * lanes_; }
  /// Where the panel begins, in floats.
  int64_t offset(int64_t panel, int64_t depth) const { return first(panel) * depth; }
  int64_t packed_size(int64_t depth) const { return padded_columns() * depth; }

 private:
  int64_t columns_, lanes_, max_width_;
};

/// How much of a panel of `depth` rows is used at a time: equal parts that stay in the first-level
/// cache while many rows of a pass by.
inline int64_t panel_part(int64_t depth, int64_t width) {
  constexpr int64_t kPartFloats = 9216;  // 36 KB
  const int64_t parts =
      std::max<int64_t>(1, ceil_div(depth, std::max<int64_t>(16, kPartFloats / width)));
  return std::max<int64_t>(1, ceil_div(depth, parts));
}

/// Elements [begin, end) of the concatenated segments.
inline std::vector<Segment> cut(const std::vector<Segment>& segments, int64_t begin, int64_t end) {
  std::vector<Segment> part;
  for (const Segment& s : segments) {
    const int64_t from = std::clamp<int64_t>(begin, 0, s.length);
    const int64_t to = std::clamp<int64_t>(end, 0, s.length);
    if (to > from) part.push_back({s.offset + from, to - from});
    begin -= s.length;
    end -= s.length;
  }
  return part;
}

}  // namespace decant::cpu
