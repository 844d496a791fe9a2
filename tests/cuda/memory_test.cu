// Tensors on cuda, and the memory that they lie in.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"
#include "engine/core/cuda_memory.h"
#include "engine/cuda/kernel.cuh"
#include "engine/ops/pointwise.h"
#include "tests/cuda/error_of.h"

using namespace decant;
using namespace decant::cuda;

namespace {

// Whoever counts blocks begins without any in the cache.
struct FreshCache {
  FreshCache() { cuda_memory::release_cache(); }
};

}  // namespace

TEST_CASE("values go to the device and come back as they were, of every type") {
  for (const DType dtype : {DType::f32, DType::i32, DType::i64, DType::u8, DType::bf16}) {
    Tensor host({3, 5}, dtype);
    with_type(dtype, [&]<class T>() {
      int value = 0;
      for (T& v : host.mutable_values<T>()) v = static_cast<T>(value++);
    });
    const Tensor device = host.to(Device::cuda);
    CHECK(device.device() == Device::cuda);
    const Tensor back = device.clone().to(Device::cpu);
    with_type(dtype, [&]<class T>() {
      for (int i = 0; i < 15; ++i) CHECK(back.data<T>()[i] == static_cast<T>(i));
    });
  }
  CHECK(Tensor({0, 3}).to(Device::cuda).to(Device::cpu).shape() == Shape({0, 3}));
}

TEST_CASE("a source may be overwritten as soon as its upload returns, however large") {
  constexpr int64_t kSize = 20 << 20;  // 80 MB, more than waits for the device at once
  Tensor host = Tensor::full({kSize}, 1);
  host.mutable_data<float>()[kSize - 1] = 3;
  const Tensor device = host.to(Device::cuda);
  host.fill(2);
  CHECK(device.view(0, {}).item() == 1);
  CHECK(device.view(kSize - 2, {}).item() == 1);
  CHECK(device.view(kSize - 1, {}).item() == 3);
}

TEST_CASE("tensors on cuda are filled, copied, viewed and read one by one") {
  Tensor t = Tensor::full({2, 70000}, 1.5, DType::f32, Device::cuda);
  CHECK(t.view(139999, {}).item() == 1.5);
  t.view(70000, {70000}).copy_from(Tensor::full({70000}, -2, DType::f32, Device::cuda));
  CHECK(t.view(69999, {}).item() == 1.5);
  CHECK(t.view(70000, {}).item() == -2);
  CHECK(Tensor::full({3}, 200, DType::u8, Device::cuda).view(2, {}).item() == 200);
  const uint64_t before = t.version();
  t.fill(0);
  CHECK(t.version() > before);
}

TEST_CASE("float64 on cuda, and a host pointer to cuda, are errors") {
  CHECK(error_of([] { Tensor({2}, DType::f64, Device::cuda); }) ==
        "Tensor: expected float32 or whole numbers on cuda, got float64 [2]");
  const Tensor t({2}, DType::f32, Device::cuda);
  CHECK(contains(error_of([&] { t.values<float>(); }), "lies on cuda, asked for memory of cpu"));
  CHECK(contains(error_of([] { Tensor({2}).device_data<float>(); }), "asked for memory of cuda"));
}

TEST_CASE("gradients gather on the device") {
  const Variable x = Variable::leaf(Tensor::of<float>({3}, {-1, 2, 3}).to(Device::cuda));
  const Tensor ones = Tensor::full({3}, 1, DType::f32, Device::cuda);
  backward(relu(x), ones);
  backward(square(x), ones);
  const Tensor gradient = x.grad().to(Device::cpu);
  CHECK(gradient.data<float>()[0] == -2);
  CHECK(gradient.data<float>()[1] == 5);
  CHECK(gradient.data<float>()[2] == 7);
  CHECK(
      contains(error_of([&] { backward(relu(x), Tensor::full({3}, 1)); }), "on cuda, got float32"));
}

TEST_CASE("a block that is given back is handed out again, without the driver") {
  const FreshCache fresh;
  const void* first = nullptr;
  {
    const Tensor t({1000}, DType::f32, Device::cuda);
    first = t.device_data<float>();
  }
  const MemoryStatistics before = cuda_memory::statistics();
  CHECK(before.cached_bytes > 0);
  const Tensor again({1000}, DType::f32, Device::cuda);
  CHECK(again.device_data<float>() == first);
  CHECK(cuda_memory::statistics().system_requests == before.system_requests);
  CHECK(cuda_memory::statistics().in_use_bytes >= before.in_use_bytes + 4000);
  CHECK(reinterpret_cast<uintptr_t>(first) % 256 == 0);
}

TEST_CASE("what is kept for reuse does not depend on where the peak is measured from") {
  const FreshCache fresh;
  {
    const Tensor large({1 << 21}, DType::f32, Device::cuda);
  }
  cuda_memory::reset_peak();
  {
    const Tensor small({16}, DType::f32, Device::cuda);
  }
  CHECK(cuda_memory::statistics().cached_bytes >= size_t{8} << 20U);
  CHECK(cuda_memory::statistics().peak_in_use_bytes < size_t{8} << 20U);
}

TEST_CASE(
    "where the device has no more, the cache is given back first, then an Error says how much") {
  const FreshCache fresh;
  const size_t in_use = cuda_memory::statistics().in_use_bytes;
  cuda_memory::set_limit(in_use + (size_t{3} << 20U));
  {
    const Tensor cached({1 << 19}, DType::f32, Device::cuda);
  }  // 2 MB, then in the cache
  CHECK(cuda_memory::statistics().cached_bytes >= size_t{2} << 20U);
  const Tensor needs_the_cache({5 << 17}, DType::f32, Device::cuda);  // 2.5 MB
  CHECK(cuda_memory::statistics().cached_bytes == 0);
  const std::string error = error_of([] { Tensor({1 << 20}, DType::f32, Device::cuda); });
  cuda_memory::set_limit(0);
  CHECK(contains(error, "allocate: out of device memory, requested 4194304 bytes, in use "));
  CHECK(contains(error, ", cached 0, total "));
}

TEST_CASE("fresh memory is NaN where poison is wanted") {
  cuda_memory::set_poison(true);
  const Tensor t({1000}, DType::f32, Device::cuda);
  const Tensor host = t.to(Device::cpu);
  for (const float v : host.values<float>()) CHECK(std::isnan(v));
#ifndef DECANT_CHECK_MEMORY
  cuda_memory::set_poison(false);
#endif
}

TEST_CASE("what has no kernel yet says so, and what CUDA refuses names op, file and line") {
  CHECK(contains(error_of([] { ensure(cudaErrorInvalidValue, "some op"); }),
                 "some op: CUDA says cudaErrorInvalidValue, invalid argument (memory_test.cu:"));
}
