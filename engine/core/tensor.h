#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>

#include "engine/core/device.h"
#include "engine/core/dtype.h"
#include "engine/core/shape.h"

namespace decant {

/// Writes rows [begin, end) of a value [.., C] to `out`, a row being the C numbers along its last
/// axis: of an image, a pixel. The same bits however the rows are cut, and from any thread.
using RowMaker = std::function<void(int64_t begin, int64_t end, float* out)>;

/// A block of memory that tensors share. `version` grows with every write, so that a value kept
/// for the backward pass can tell whether it is still the value that was kept (see Saved).
class Storage {
 public:
  Storage(size_t bytes, Device device);
  /// Memory on the CPU that is taken, and filled by `make`, once somebody asks for it.
  Storage(int64_t rows, int64_t row_size, RowMaker make, int depth);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() {
    if (promised_.load(std::memory_order_acquire)) keep_promise();
    return data_;
  }
  size_t bytes() const { return bytes_; }
  /// What makes the rows of `row_size` floats, until data() was asked for; null from then on.
  std::shared_ptr<const RowMaker> promise(int64_t row_size);
  /// How many promises follow upon each other up to this one; 0 once data() was asked for.
  int depth() const { return promised_.load(std::memory_order_acquire) ? depth_ : 0; }

  std::atomic<uint64_t> version = 0;

  /// See Tensor::rounded(): the copy, and what the storage was when it was made.
  struct Rounded {
    std::shared_ptr<Storage> copy;
    uint64_t version = 0;
    uint64_t epoch = 0;
  };
  Rounded rounded;

 private:
  void keep_promise();

  std::byte* data_ = nullptr;
  size_t bytes_;
  Device device_;
  std::atomic<bool> promised_ = false;
  int depth_ = 0;
  std::mutex mutex_;  // of the next two
  std::shared_ptr<const RowMaker> make_;
  int64_t row_size_ = 0;
};

/// A dense, row-major array of numbers on one device. Copies share storage; `clone` does not. A
/// tensor knows nothing of gradients (see autograd/variable.h).
/// Images are [N, H, W, C].
/// What lies on cuda is read through to(Device::cpu) or item(), which wait for the device; asking
/// it for a host pointer is an Error. It is never float64, the type of the CPU's reference.
class Tensor {
 public:
  Tensor() = default;

  /// Uninitialised memory: NaN in builds that check memory.
  explicit Tensor(Shape shape, DType dtype = DType::f32, Device device = Device::cpu);

  static Tensor full(Shape shape, double value, DType dtype = DType::f32,
                     Device device = Device::cpu);
  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = Device::cpu) {
    return full(shape, 0, dtype, device);
  }

  /// Of float32 on the CPU: a value that is cheaper to make than to keep. A reader that asks for
  /// its data has it made, once, whole and into memory. One that works through it piece by piece
  /// asks for promise() first and makes the pieces in its cache: then the value never exists.
  /// `depth` is one more than that of the deepest promise that it is made from.
  static Tensor promised(Shape shape, RowMaker make, int depth = 1);
  /// What makes its rows. Null where its data are in memory, and of tensors that are only a part of
  /// a promised one, or the same numbers in rows of another length.
  std::shared_ptr<const RowMaker> promise() const;
  /// How many promises follow upon each other up to this value; 0 where its data are in memory.
  int promise_depth() const {
    check_defined();
    return storage_->depth();
  }

  /// Tensor::of<float>({2, 2}, {1, 2, 3, 4}); throws Error where the counts differ.
  template <class T>
  static Tensor of(Shape shape, std::span<const T> values);
  template <class T>
  static Tensor of(Shape shape, std::initializer_list<T> values) {
    return of<T>(shape, std::span<const T>(values.begin(), values.size()));
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return shape_.size(); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  /// First element, for reading. Throws Error where T is not the tensor's type, and where the
  /// tensor does not lie on the CPU.
  template <class T>
  const T* data() const {
    check_access(DTypeOf<T>::kValue, Device::cpu);
    return reinterpret_cast<const T*>(bytes());
  }
  /// First element, for writing: ask for it once per write, since it counts as one.
  template <class T>
  T* mutable_data() {
    check_access(DTypeOf<T>::kValue, Device::cpu);
    ++storage_->version;
    return reinterpret_cast<T*>(bytes());
  }
  /// The same of a tensor on cuda, for kernels.
  template <class T>
  const T* device_data() const {
    check_access(DTypeOf<T>::kValue, Device::cuda);
    return reinterpret_cast<const T*>(bytes());
  }
  template <class T>
  T* mutable_device_data() {
    check_access(DTypeOf<T>::kValue, Device::cuda);
    ++storage_->version;
    return reinterpret_cast<T*>(bytes());
  }

  template <class T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<size_t>(size())};
  }
  template <class T>
  std::span<T> mutable_values() {
    return {mutable_data<T>(), static_cast<size_t>(size())};
  }

  /// The only element, whatever its type, as a double. Throws Error if there are several.
  double item() const;

  /// The same numbers under another shape of the same size; shares storage.
  Tensor reshape(Shape shape) const;
  /// `shape.size()` consecutive elements from `offset` on; shares storage.
  Tensor view(int64_t offset, Shape shape) const;
  Tensor clone() const;
  /// The values converted to `dtype`; this tensor itself where it has that type already. To a whole
  /// type fractions are cut off, and values that it cannot hold are not defined. On the CPU only:
  /// the op `cast` converts on both.
  Tensor to(DType dtype) const;
  /// A copy on `device`; this tensor itself where it lies there already.
  Tensor to(Device device) const;

  /// Of float32 on cuda: the values as bfloat16, for products. They are a view of a copy of the
  /// whole storage, which is kept beside it and made anew, by one kernel, where the storage may
  /// have been written to: parameters, all in one buffer, are rounded once in a step. A step graph
  /// that reads them rounds them itself. Not to be kept beyond the next write.
  Tensor rounded() const;

  /// Throws Error for a number that a whole type cannot hold.
  void fill(double value);
  /// Copies values from a tensor of the same shape and type. From the other device it is an upload
  /// or a download, of which the latter waits.
  void copy_from(const Tensor& source);

  uint64_t version() const {
    check_defined();
    return storage_->version;
  }
  /// Whether nobody else refers to this memory, so that it may be overwritten unseen.
  bool sole_owner() const { return storage_.use_count() == 1; }
  bool shares_storage(const Tensor& other) const { return storage_ == other.storage_; }
  /// Whether both are the same elements of one storage.
  bool is_same(const Tensor& other) const {
    return storage_ == other.storage_ && offset_ == other.offset_ && shape_ == other.shape_;
  }

 private:
  void check_defined() const;
  void check_access(DType wanted, Device device) const;
  size_t size_bytes() const { return static_cast<size_t>(size()) * size_of(dtype_); }
  std::byte* bytes() const {
    return storage_->data() + static_cast<size_t>(offset_) * size_of(dtype_);
  }

  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
  int64_t offset_ = 0;  // in elements
  std::shared_ptr<Storage> storage_;
};

/// All rows of what `make` makes, on all threads.
void make_rows(const RowMaker& make, int64_t rows, int64_t row_size, float* out);

template <class T>
Tensor Tensor::of(Shape shape, std::span<const T> values) {
  check(static_cast<int64_t>(values.size()) == shape.size(), "Tensor::of: shape ", shape, " holds ",
        shape.size(), " values, got ", values.size());
  Tensor t(shape, DTypeOf<T>::kValue);
  T* out = t.mutable_data<T>();
  for (const T& value : values) *out++ = value;
  return t;
}

}  // namespace decant
