#include "engine/core/tensor.h"

#include <algorithm>
#include <cstring>

#include "engine/core/allocator.h"

namespace decant {

Storage::Storage(size_t bytes, Device device) : bytes_(bytes) {
  check(device == Device::cpu, "Storage: this program was built without CUDA");
  data_ = static_cast<std::byte*>(cpu_memory::allocate(bytes));
}

Storage::~Storage() {
  cpu_memory::release(data_, bytes_);
}

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : shape_(shape.extents()),  // checked again: its extents may have been set one by one
      dtype_(dtype),
      device_(device),
      storage_(
          std::make_shared<Storage>(static_cast<size_t>(shape.size()) * size_of(dtype), device)) {}

Tensor Tensor::full(Shape shape, double value, DType dtype) {
  Tensor t(shape, dtype);
  t.fill(value);
  return t;
}

void Tensor::check_defined() const {
  check(defined(), "Tensor: expected values, got a tensor that was only declared");
}

void Tensor::check_type(DType wanted) const {
  check_defined();
  check(dtype_ == wanted, "Tensor: holds ", dtype_, ", asked for ", wanted);
}

double Tensor::item() const {
  check(size() == 1, "Tensor::item: expected one element, got shape ", shape_);
  return with_type(dtype_, [&]<class T>() { return static_cast<double>(*data<T>()); });
}

Tensor Tensor::reshape(Shape shape) const {
  check(shape.size() == size(), "reshape: sizes differ, from ", shape_, " to ", shape);
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::view(int64_t offset, Shape shape) const {
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

void Tensor::fill(double value) {
  with_type(dtype_,
            [&]<class T>() { std::ranges::fill(mutable_values<T>(), static_cast<T>(value)); });
}

void Tensor::copy_from(const Tensor& source) {
  check_defined();
  source.check_defined();
  check(source.shape_ == shape_ && source.dtype_ == dtype_ && source.device_ == device_,
        "copy_from: expected ", dtype_, ' ', shape_, " on ", device_, ", got ", source.dtype_, ' ',
        source.shape_, " on ", source.device_);
  if (size() == 0) return;
  ++storage_->version;
  std::memcpy(bytes(), source.bytes(), static_cast<size_t>(size()) * size_of(dtype_));
}

}  // namespace decant
