#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "engine/core/error.h"
#include "engine/core/tensor.h"

namespace decant::cpu {

/// A map [pixels, channels] as drivers read it, some pixels at a time: in memory, or made where it
/// is read (Tensor::promised). Refers to what it was given.
class Source {
 public:
  explicit(false) Source(const float* data) : data_(data) {}
  explicit(false) Source(const RowMaker& make) : make_(&make) {}
  Source(const RowMaker&&) = delete;  // would be gone when it is read

  /// Where its pixels lie; null where they must be made.
  const float* data() const { return data_; }
  /// Pixels [begin, end), in memory or made in `buffer`.
  const float* pixels(int64_t begin, int64_t end, int64_t channels, float* buffer) const {
    if (data_ != nullptr) return data_ + begin * channels;
    (*make_)(begin, end, buffer);
    return buffer;
  }
  /// The same in `out`.
  void copy(int64_t begin, int64_t end, int64_t channels, float* out) const {
    if (data_ != nullptr)
      std::copy(data_ + begin * channels, data_ + end * channels, out);
    else
      (*make_)(begin, end, out);
  }

 private:
  const float* data_ = nullptr;
  const RowMaker* make_ = nullptr;
};

/// Promises that are made from promises are made again by each: so many follow upon each other, the
/// next one's operand is kept in memory.
constexpr int kMaxPromiseDepth = 4;

/// A tensor's values as a Source, for as long as this lives. Where promises are not taken they are
/// kept: the tensor's data are in memory then. What reads it later than the op that was given it
/// must not find other values: get() throws Error if the tensor was written to since, or, while it
/// is not in memory, what it is made from.
class TensorSource {
 public:
  explicit TensorSource(const Tensor& t, bool takes_promises = true)
      : make_(takes_promises && t.promise_depth() <= kMaxPromiseDepth ? t.promise() : nullptr),
        tensor_(t),
        version_(t.version()) {
    if (make_ == nullptr) tensor_.data<float>();
  }
  Source get() const {
    check(tensor_.version() == version_, "promise: a value of shape ", tensor_.shape(),
          " was overwritten before what depends on it was made");
    // Somebody else may have asked for its data.
    const bool made = make_ == nullptr || tensor_.promise_depth() == 0;
    return made ? Source(tensor_.data<float>()) : Source(*make_);
  }

 private:
  std::shared_ptr<const RowMaker> make_;
  Tensor tensor_;
  uint64_t version_;
};

/// First element of a tensor that may be undefined, or null.
template <class T>
const T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}
template <class T>
T* mutable_data_or_null(Tensor& t) {
  return t.defined() ? t.mutable_data<T>() : nullptr;
}

}  // namespace decant::cpu
