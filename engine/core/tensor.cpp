#include "engine/core/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "engine/core/allocator.h"
#include "engine/core/cuda_memory.h"
#include "engine/core/parallel.h"

namespace decant {
// `if constexpr (kWithCuda)` leaves cuda_memory unnamed where nobody defines it.

namespace {

// Whether the conversion is defined: fractions are cut off, real types go to infinity.
bool holds(DType dtype, double value) {
  return with_type(dtype, [value]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      constexpr int kBits = std::numeric_limits<T>::digits;
      const double whole = std::trunc(value);
      return whole >= static_cast<double>(std::numeric_limits<T>::min()) &&
             whole < std::ldexp(1.0, kBits);
    } else {
      return true;
    }
  });
}

}  // namespace

Storage::Storage(size_t bytes, Device device) : bytes_(bytes), device_(device) {
  check(kWithCuda || device == Device::cpu, "Storage: this program was built without CUDA");
  if constexpr (kWithCuda)
    if (device == Device::cuda) data_ = static_cast<std::byte*>(cuda_memory::allocate(bytes));
  if (device == Device::cpu) data_ = static_cast<std::byte*>(cpu_memory::allocate(bytes));
}

void make_rows(const RowMaker& make, int64_t rows, int64_t row_size, float* out) {
  parallel_ranges(rows, std::max<int64_t>(1, kElementGrain / row_size),
                  [&](int64_t begin, int64_t end) { make(begin, end, out + begin * row_size); });
}

Storage::Storage(int64_t rows, int64_t row_size, RowMaker make, int depth)
    : bytes_(static_cast<size_t>(rows * row_size) * sizeof(float)),
      device_(Device::cpu),
      promised_(true),
      depth_(depth),
      make_(std::make_shared<const RowMaker>(std::move(make))),
      row_size_(row_size) {}

std::shared_ptr<const RowMaker> Storage::promise(int64_t row_size) {
  const std::scoped_lock lock(mutex_);
  return row_size == row_size_ ? make_ : nullptr;
}

void Storage::keep_promise() {
  const std::scoped_lock lock(mutex_);
  if (make_ == nullptr) return;  // another thread was first
  if (data_ == nullptr) data_ = static_cast<std::byte*>(cpu_memory::allocate(bytes_));
  const int64_t rows = static_cast<int64_t>(bytes_ / sizeof(float)) / row_size_;
  make_rows(*make_, rows, row_size_, reinterpret_cast<float*>(data_));
  make_ = nullptr;  // and with it what it was made from
  promised_.store(false, std::memory_order_release);
}

Storage::~Storage() {
  if constexpr (kWithCuda)
    if (device_ == Device::cuda) cuda_memory::release(data_, bytes_);
  if (device_ == Device::cpu) cpu_memory::release(data_, bytes_);
}

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : shape_(shape.extents()),  // checked again: its extents may have been set one by one
      dtype_(dtype),
      device_(device),
      storage_(
          std::make_shared<Storage>(static_cast<size_t>(shape.size()) * size_of(dtype), device)) {
  check(device == Device::cpu || dtype != DType::f64,
        "Tensor: expected float32 or whole numbers on cuda, got float64 ", shape);
}

Tensor Tensor::promised(Shape shape, RowMaker make, int depth) {
  Tensor t;
  t.shape_ = Shape(shape.extents());
  check(t.shape_.rank() >= 1 && t.size() > 0, "Tensor::promised: expected rows of numbers, got ",
        t.shape_);
  t.storage_ =
      std::make_shared<Storage>(t.size() / t.shape_[-1], t.shape_[-1], std::move(make), depth);
  return t;
}

std::shared_ptr<const RowMaker> Tensor::promise() const {
  check_defined();
  const bool whole = storage_->bytes() == size_bytes();
  return whole && shape_.rank() >= 1 ? storage_->promise(shape_[-1]) : nullptr;
}

Tensor Tensor::full(Shape shape, double value, DType dtype, Device device) {
  Tensor t(shape, dtype, device);
  t.fill(value);
  return t;
}

void Tensor::check_defined() const {
  check(defined(), "Tensor: expected values, got a tensor that was only declared");
}

void Tensor::check_access(DType wanted, Device device) const {
  check_defined();
  check(dtype_ == wanted, "Tensor: holds ", dtype_, ", asked for ", wanted);
  check(device_ == device, "Tensor: lies on ", device_, ", asked for memory of ", device);
}

double Tensor::item() const {
  check(size() == 1, "Tensor::item: expected one element, got shape ", shape_);
  if (device_ != Device::cpu) return to(Device::cpu).item();
  return with_type(dtype_, [&]<class T>() { return static_cast<double>(*data<T>()); });
}

Tensor Tensor::reshape(Shape shape) const {
  shape = Shape(shape.extents());  // checked again, as above
  check(shape.size() == size(), "reshape: sizes differ, from ", shape_, " to ", shape);
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::view(int64_t offset, Shape shape) const {
  shape = Shape(shape.extents());
  check(offset >= 0 && offset <= size() - shape.size(), "view: expected elements of ", shape_,
        ", got ", shape, " from element ", offset);
  Tensor t = *this;
  t.shape_ = shape;
  t.offset_ += offset;
  return t;
}

Tensor Tensor::clone() const {
  check_defined();
  Tensor t(shape_, dtype_, device_);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  check_defined();
  if (dtype == dtype_) return *this;
  Tensor t(shape_, dtype, device_);
  with_type(dtype_, [&]<class From>() {
    with_type(dtype, [&]<class To>() {
      std::ranges::transform(values<From>(), t.mutable_data<To>(),
                             [](From v) { return static_cast<To>(v); });
    });
  });
  return t;
}

Tensor Tensor::to(Device device) const {
  check_defined();
  if (device == device_) return *this;
  Tensor t(shape_, dtype_, device);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::rounded() const {
  check_access(DType::f32, Device::cuda);
  Tensor t = *this;
  if constexpr (kWithCuda) {
    Storage::Rounded& r = storage_->rounded;
    const uint64_t epoch = cuda_memory::epoch();
    if (r.copy == nullptr || r.version != storage_->version || r.epoch != epoch) {
      // Remembered only once it is made: what throws here leaves no copy without values behind.
      std::shared_ptr<Storage> copy = std::exchange(r.copy, nullptr);
      if (copy == nullptr) copy = std::make_shared<Storage>(storage_->bytes() / 2, Device::cuda);
      const auto count = static_cast<int64_t>(storage_->bytes() / size_of(DType::f32));
      cuda_memory::round(copy->data(), storage_->data(), count);
      r = {.copy = std::move(copy), .version = storage_->version, .epoch = epoch};
    }
    t.storage_ = r.copy;
    t.dtype_ = DType::bf16;
  }
  return t;
}

void Tensor::fill(double value) {
  check_defined();
  check(holds(dtype_, value), "Tensor::fill: expected a number that ", dtype_, " holds, got ",
        value);
  if constexpr (kWithCuda)
    if (device_ == Device::cuda) {
      ++storage_->version;
      return cuda_memory::fill(bytes(), size(), dtype_, value);
    }
  with_type(dtype_, [&]<class T>() {
    T* out = mutable_data<T>();
    parallel_ranges(size(), kElementGrain, [=](int64_t begin, int64_t end) {
      std::fill(out + begin, out + end, static_cast<T>(value));
    });
  });
}

void Tensor::copy_from(const Tensor& source) {
  check_defined();
  source.check_defined();
  check(source.shape_ == shape_ && source.dtype_ == dtype_, "copy_from: expected ", dtype_, ' ',
        shape_, ", got ", source.dtype_, ' ', source.shape_);
  if (size() == 0) return;
  ++storage_->version;
  if constexpr (kWithCuda) {
    if (device_ != source.device_)
      return device_ == Device::cuda ? cuda_memory::upload(bytes(), source.bytes(), size_bytes())
                                     : cuda_memory::download(bytes(), source.bytes(), size_bytes());
    if (device_ == Device::cuda) return cuda_memory::copy(bytes(), source.bytes(), size_bytes());
  }
  std::memcpy(bytes(), source.bytes(), size_bytes());
}

}  // namespace decant
