// What kernels may count on: the emulated device does as a card does.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/cuda/card.h"
#include "engine/cuda/emulated/device.h"
#include "engine/cuda/emulated/schedule.h"
#include "engine/cuda/kernel.cuh"
#include "tests/cuda/error_of.h"

using namespace decant;
using namespace decant::cuda;

namespace {

Tensor fresh(int64_t n, DType dtype = DType::f32) {
  return Tensor({n}, dtype, Device::cuda);
}

__global__ void number_threads(int* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<int>(thread + 100 * block);
}

__global__ void shuffles(int* y) {
  const int me = lane();
  y[me] = __shfl_sync(kAllLanes, me, 5);
  y[32 + me] = __shfl_up_sync(kAllLanes, me, 3);
  y[64 + me] = __shfl_down_sync(kAllLanes, me, 3);
  y[96 + me] = __shfl_xor_sync(kAllLanes, me, 9);
  y[128 + me] = __shfl_down_sync(kAllLanes, me, 2, 8);
  y[160 + me] = static_cast<int>(__ballot_sync(kAllLanes, me % 3 == 0));
  y[192 + me] = __any_sync(kAllLanes, me == 7) ? 1 : 0;
  y[224 + me] = __all_sync(kAllLanes, me != 7) ? 1 : 0;
}

// Two halves of a warp go different ways.
__global__ void halves(int* y) {
  const bool low = threadIdx.x < 16;
  const unsigned mask = low ? 0x0000FFFFU : 0xFFFF0000U;
  int v = static_cast<int>(threadIdx.x);
  for (int i = 0; i < (low ? 3 : 1); ++i) v = __shfl_xor_sync(mask, v, 1);
  y[threadIdx.x] = v;
}

__global__ void count_all(int* y) {
  atomicAdd(y, 1);
  atomicMax(y + 1, static_cast<int>(global_thread()));
}

__global__ void declare_a_kilobyte(float* y) {
  SHARED(tile, float[256]);
  tile[0] = 1;
  y[0] = tile[0];
}

__global__ __launch_bounds__(64) void at_most_64() {
  MOST_THREADS(64);
}

__global__ void nothing(const float* /*x*/) {}

struct Sizes {
  int n, h;
  const float* x;
};
__global__ void nothing_of(Sizes /*sizes*/) {}

std::string launch_error(Grid grid) {
  return error_of([&] { launch("nothing", nothing, grid, nullptr); });
}

}  // namespace

TEST_CASE("built-in indices number blocks and threads, x the fastest") {
  Tensor y = fresh(2 * 3 * 2 * 24, DType::i32);
  launch("number_threads", number_threads, {.blocks = {2, 3, 2}, .threads = {4, 3, 2}},
         y.mutable_device_data<int>());
  const Tensor host = y.to(Device::cpu);
  for (int i = 0; i < 12 * 24; ++i) CHECK(host.data<int>()[i] == i % 24 + 100 * (i / 24));
}

TEST_CASE("shuffles and votes do as the CUDA guide says") {
  for (const uint64_t seed : {0U, 5U}) {
    const emulated::AtSchedule order({.seed = seed});
    Tensor y = fresh(256, DType::i32);
    launch("shuffles", shuffles, {.threads = 32}, y.mutable_device_data<int>());
    const Tensor host = y.to(Device::cpu);
    const int* v = host.data<int>();
    for (int i = 0; i < 32; ++i) {
      CHECK(v[i] == 5);
      CHECK(v[32 + i] == (i < 3 ? i : i - 3));
      CHECK(v[64 + i] == (i > 28 ? i : i + 3));
      CHECK(v[96 + i] == (i ^ 9));
      CHECK(v[128 + i] == (i % 8 >= 6 ? i : i + 2));
      CHECK(v[160 + i] == 0x49249249);
      CHECK(v[192 + i] == 1);
      CHECK(v[224 + i] == 0);
    }
  }
}

TEST_CASE("parts of a warp exchange values without the rest") {
  Tensor y = fresh(32, DType::i32);
  launch("halves", halves, {.threads = 32}, y.mutable_device_data<int>());
  const Tensor host = y.to(Device::cpu);
  for (int i = 0; i < 32; ++i) CHECK(host.data<int>()[i] == (i ^ 1));
}

TEST_CASE("atomics on whole numbers count every thread") {
  Tensor y = Tensor::zeros({2}, DType::i32, Device::cuda);
  launch("count_all", count_all, {.blocks = 7, .threads = 96}, y.mutable_device_data<int>());
  CHECK(y.to(Device::cpu).data<int>()[0] == 7 * 96);
  CHECK(y.to(Device::cpu).data<int>()[1] == 7 * 96 - 1);
}

TEST_CASE("launches beyond a card's limits are refused") {
  CHECK(launch_error({}).empty());
  CHECK(launch_error({.blocks = {65536, 1, 1}}).empty());
  CHECK(contains(launch_error({.threads = 1025}), "a block of 1 to 1024 threads"));
  CHECK(contains(launch_error({.threads = {1, 1, 65}}), "at most 64 along z, got 1 x 1 x 65"));
  CHECK(contains(launch_error({.blocks = {1, 65536, 1}}), "65535 x 65535 blocks, got 1 x 65536"));
  CHECK(launch_error({.shared_bytes = 227 << 10}).empty());
  CHECK(contains(launch_error({.shared_bytes = (227 << 10) + 1}), "cudaErrorInvalidValue"));
}

TEST_CASE("a card with less shared memory per block says so, and refuses more") {
  CHECK(most_shared_bytes() == 227 << 10);
  const emulated::AtSharedLimit smaller(99 << 10);
  CHECK(most_shared_bytes() == 99 << 10);
  CHECK(launch_error({.shared_bytes = 99 << 10}).empty());
  CHECK(contains(launch_error({.shared_bytes = (99 << 10) + 1}), "cudaErrorInvalidValue"));
}

TEST_CASE("declared and dynamic shared memory together have the limit of a card") {
  const auto error = [](size_t dynamic_bytes) {
    Tensor y = fresh(1);
    return error_of([&] {
      launch("declare_a_kilobyte", declare_a_kilobyte, {.shared_bytes = dynamic_bytes},
             y.mutable_device_data<float>());
    });
  };
  CHECK(error(47 << 10).empty());
  CHECK(contains(error(47 << 10 | 1),
                 "kernel declare_a_kilobyte, block (0, 0, 0), thread (0, 0, 0): shared memory: "
                 "expected at most 1023 declared bytes beside 48129 dynamic ones, got 1024"));
  CHECK(error(226 << 10).empty());
  CHECK(contains(error(226 << 10 | 1), "at most 1023 declared bytes beside 231425 dynamic ones"));
}

TEST_CASE("a block of more threads than the kernel was compiled for is refused") {
  const auto error = [](unsigned threads) {
    return error_of([=] { launch("at_most_64", at_most_64, {.threads = {threads / 2, 2}}); });
  };
  CHECK(error(64).empty());
  CHECK(contains(error(66), "kernel at_most_64, block (0, 0, 0), thread "));
  CHECK(contains(error(66),
                 "expected a block of at most 64 threads, as its launch bounds say, got 66"));
}

TEST_CASE("a host pointer where a device one is expected is refused, and the reverse") {
  const Tensor host = Tensor::zeros({4});
  const Tensor device = host.to(Device::cuda);
  CHECK(contains(error_of([&] { launch("nothing", nothing, {}, host.data<float>()); }),
                 "kernel nothing: argument 0 points to host memory"));
  CHECK(contains(error_of([&] { device.data<float>(); }), "lies on cuda, asked for memory of cpu"));
  float copy[4];
  CHECK(contains(error_of([&] {
                   cudaMemcpyAsync(copy, host.data<float>(), sizeof(copy), cudaMemcpyDeviceToHost,
                                   compute_stream());
                 }),
                 "source: expected device memory, got a host pointer"));
  CHECK(contains(error_of([&] {
                   cudaMemcpyAsync(copy, device.device_data<float>(), size_t{1} << 40U,
                                   cudaMemcpyDeviceToHost, compute_stream());
                 }),
                 "reach beyond the device memory"));
  CHECK(contains(error_of([] { cudaStreamSynchronize(nullptr); }), "got the default one"));
}

TEST_CASE("a host pointer inside of a struct is refused") {
#ifdef __SANITIZE_ADDRESS__
  constexpr bool kFound = false;  // every address is mapped there
#else
  constexpr bool kFound = true;
#endif
  const auto error = [](const float* x) {
    return error_of(
        [&] { launch("nothing_of", nothing_of, {}, Sizes{.n = 3, .h = 4096, .x = x}); });
  };
  const Tensor host = Tensor::zeros({4});
  CHECK(error(host.to(Device::cuda).device_data<float>()).empty());
  CHECK(contains(error(host.data<float>()),
                 "kernel nothing_of: argument 0 holds a pointer to host memory") == kFound);
}

TEST_CASE("a host that does not wait for a copy reads what was there before") {
  const emulated::AtSchedule late({.late = true});
  const Tensor device = Tensor::full({1}, 7, DType::f32, Device::cuda);
  void* pinned = nullptr;
  cudaHostAlloc(&pinned, sizeof(float), cudaHostAllocDefault);
  auto* value = static_cast<float*>(pinned);
  *value = 1;
  cudaMemcpyAsync(value, device.device_data<float>(), sizeof(float), cudaMemcpyDeviceToHost,
                  compute_stream());
  CHECK(*value == 1);
  cudaStreamSynchronize(compute_stream());
  CHECK(*value == 7);
  cudaFreeHost(pinned);
}

TEST_CASE("uploads reach a late device as they were, though their way is used again and again") {
  const emulated::AtSchedule late({.late = true});
  std::vector<Tensor> uploaded;
  for (int i = 0; i < 40; ++i) uploaded.push_back(Tensor::full({3}, i).to(Device::cuda));
  for (int i = 0; i < 40; ++i) CHECK(uploaded[static_cast<size_t>(i)].view(1, {}).item() == i);
}

TEST_CASE("a stream that waits for another's event sees its copy, and one that does not need not") {
  const emulated::AtSchedule late({.late = true});
  void* pinned = nullptr;
  cudaHostAlloc(&pinned, sizeof(float), cudaHostAllocDefault);
  *static_cast<float*>(pinned) = 7;
  for (const bool waits : {false, true}) {
    Tensor uploaded = Tensor::full({1}, 1, DType::f32, Device::cuda);
    synchronize("test");
    cudaMemcpyAsync(uploaded.mutable_device_data<float>(), pinned, sizeof(float),
                    cudaMemcpyHostToDevice, copy_stream());
    Event copied;
    copied.record(copy_stream());
    if (waits) copied.wait(compute_stream());
    const Tensor read = uploaded.clone();
    cudaStreamSynchronize(compute_stream());
    CHECK(read.item() == (waits ? 7 : 1));
    synchronize("test");
  }
  cudaFreeHost(pinned);
}
