// The emulated device is a judge: each kernel here has a fault that kernels have, and each is
// caught.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/cuda/emulated/schedule.h"
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/ptx.cuh"
#include "engine/cuda/step_graph.h"
#include "tests/cuda/error_of.h"

using namespace decant;
using namespace decant::cuda;

// AddressSanitizer ends the program at such an access: ctest runs these cases one by one.
#ifdef __SANITIZE_ADDRESS__
#define DECANT_ENDS_UNDER_ASAN doctest::skip(true)
#else
#define DECANT_ENDS_UNDER_ASAN doctest::skip(false)
#endif

namespace {

constexpr unsigned kThreads = 64;

Tensor counting(int64_t n) {
  Tensor t({n});
  for (int64_t i = 0; i < n; ++i) t.mutable_data<float>()[i] = static_cast<float>(i);
  return t.to(Device::cuda);
}

Tensor fresh(int64_t n) {
  return Tensor({n}, DType::f32, Device::cuda);
}

std::vector<float> values(const Tensor& t) {
  const Tensor host = t.to(Device::cpu);
  return {host.values<float>().begin(), host.values<float>().end()};
}

// y[t] = x[t - 1], by way of shared memory.
template <bool with_barrier>
__global__ void take_from_left(const float* x, float* y) {
  SHARED(tile, float[kThreads]);
  const unsigned t = threadIdx.x;
  tile[t] = x[t];
  if (with_barrier) __syncthreads();
  y[t] = tile[t == 0 ? 0 : t - 1];
}

template <bool with_barrier>
std::vector<float> taken_from_left(uint64_t seed) {
  const emulated::AtSchedule order({.seed = seed});
  Tensor y = fresh(kThreads);
  launch("take_from_left", take_from_left<with_barrier>, {.threads = kThreads},
         counting(kThreads).device_data<float>(), y.mutable_device_data<float>());
  return values(y);
}

// y[t] = x[t - 1] within a warp, without __syncwarp.
__global__ void take_from_left_in_warp(const float* x, float* y) {
  SHARED(tile, float[kWarp]);
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[(threadIdx.x + kWarp - 1) % kWarp];
}

__global__ void sum_with_right(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x] + x[threadIdx.x + 1];
}

__global__ void write_with_right(float* y) {
  y[threadIdx.x] = 1;
  y[threadIdx.x + 1] = 1;
}

__global__ void read_beyond_shared(float* y, int beyond) {
  SHARED(tile, float[4][kWarp]);
  for (int r = 0; r < 4; ++r) tile[r][threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[3][threadIdx.x + static_cast<unsigned>(beyond)];
}

__global__ void read_beyond_dynamic(float* y) {
  auto* tile = dynamic_shared<float>();
  tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + 1];
}

__global__ void write_beyond_dynamic(float* y) {
  auto* tile = dynamic_shared<float>();
  tile[threadIdx.x + 1] = 1;
  y[threadIdx.x] = 1;
}

__global__ void leave_last_unwritten(float* y) {
  if (threadIdx.x + 1 < blockDim.x) y[threadIdx.x] = 1;
}

// Reads what an earlier block left in shared memory.
__global__ void read_unwritten_shared(float* y) {
  SHARED(tile, float[kWarp]);
  if (blockIdx.x == 0) tile[threadIdx.x] = 1;
  __syncthreads();
  y[blockIdx.x * kWarp + threadIdx.x] = tile[threadIdx.x];
}

__global__ void wait_in_half() {
  if (threadIdx.x < 16) __syncthreads();
}

__global__ void wait_apart() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void shuffle_after_leaving(float* y) {
  if (threadIdx.x >= 20) return;
  y[threadIdx.x] = warp_sum(1.0F);
}

__global__ void read_before_the_copy(const float* x, float* y) {
  SHARED(tile, float[4]);
  cp_async16(&tile[0], x);
  cp_async_commit();
  y[0] = tile[0];
  cp_async_wait<0>();
  y[1] = tile[0];
}

__global__ void wait_for_too_few(const float* x, float* y) {
  SHARED(tile, float[8]);
  for (int i = 0; i < 2; ++i) {
    cp_async16(&tile[4 * i], x + 4 * i);
    cp_async_commit();
  }
  cp_async_wait<1>();
  y[0] = tile[0];
  y[1] = tile[4];
  cp_async_wait<0>();
}

__global__ void descend(float* w, const float* gradient, const float* rate_on_device, float rate) {
  *w -= (rate_on_device == nullptr ? rate : *rate_on_device) * *gradient;
}

// Three steps with the rates 1, 0.5, 0.25 on a gradient of 1: what w becomes.
float train(bool baked_in) {
  Tensor w = Tensor::full({}, 10, DType::f32, Device::cuda);
  const Tensor gradient = Tensor::full({}, 1, DType::f32, Device::cuda);
  Tensor on_device = fresh(1);
  StepGraph graph;
  for (const float rate : {1.0F, 0.5F, 0.25F}) {
    on_device.copy_from(Tensor::full({1}, rate).to(Device::cuda));
    graph.run([&] {
      launch("descend", descend, {}, w.mutable_device_data<float>(), gradient.device_data<float>(),
             baked_in ? nullptr : on_device.device_data<float>(), rate);
    });
  }
  REQUIRE(graph.recorded());
  return static_cast<float>(w.item());
}

}  // namespace

TEST_CASE("planted: a missing __syncthreads shows in another order of threads") {
  std::vector<float> expected(kThreads);
  for (unsigned t = 1; t < kThreads; ++t) expected[t] = static_cast<float>(t - 1);
  CHECK(taken_from_left<false>(0) == expected);  // in the order of numbers nobody would notice
  for (const uint64_t seed : {1U, 2U, 3U}) {
    CHECK(taken_from_left<false>(seed) != expected);
    CHECK(taken_from_left<true>(seed) == expected);
  }
}

TEST_CASE("planted: a missing __syncwarp shows") {
  Tensor y = fresh(kWarp);
  launch("take_from_left_in_warp", take_from_left_in_warp, {.threads = kWarp},
         counting(kWarp).device_data<float>(), y.mutable_device_data<float>());
  // Whoever is first reads what nobody has written.
  CHECK(std::ranges::any_of(values(y), [](float v) { return std::isnan(v); }));
}

TEST_CASE("planted: a read beyond global memory" * DECANT_ENDS_UNDER_ASAN) {
  Tensor y = fresh(kThreads);
  launch("sum_with_right", sum_with_right, {.threads = kThreads},
         counting(kThreads).device_data<float>(), y.mutable_device_data<float>());
  CHECK(values(y)[kThreads - 2] == 2 * kThreads - 3);
  CHECK(std::isnan(values(y)[kThreads - 1]));
}

TEST_CASE("planted: a write beyond global memory" * DECANT_ENDS_UNDER_ASAN) {
  const std::string error = error_of([] {
    Tensor y = fresh(kThreads);
    launch("write_with_right", write_with_right, {.threads = kThreads},
           y.mutable_device_data<float>());
  });
  CHECK(contains(error, "kernel write_with_right: wrote beside a tensor"));
}

TEST_CASE("planted: a write beyond dynamic shared memory" * DECANT_ENDS_UNDER_ASAN) {
  const std::string error = error_of([] {
    Tensor y = fresh(kThreads);
    launch("write_beyond_dynamic", write_beyond_dynamic,
           {.threads = kThreads, .shared_bytes = kThreads * sizeof(float)},
           y.mutable_device_data<float>());
  });
  CHECK(
      contains(error, "kernel write_beyond_dynamic, block (0, 0, 0): write behind a shared array"));
}

TEST_CASE("planted: a read beyond shared memory is an error that names kernel, block and thread") {
  Tensor y = fresh(kWarp);
  const auto run = [&](int beyond) {
    launch("read_beyond_shared", read_beyond_shared, {.threads = kWarp},
           y.mutable_device_data<float>(), beyond);
  };
  CHECK(error_of([&] { run(0); }).empty());
  CHECK(error_of([&] { run(1); }) ==
        "kernel read_beyond_shared, block (0, 0, 0), thread (31, 0, 0): index 32 of a shared array "
        "of 32");
}

TEST_CASE("planted: a read beyond dynamic shared memory" * DECANT_ENDS_UNDER_ASAN) {
  Tensor y = fresh(kThreads);
  launch("read_beyond_dynamic", read_beyond_dynamic,
         {.threads = kThreads, .shared_bytes = kThreads * sizeof(float)},
         y.mutable_device_data<float>());
  CHECK(std::isnan(values(y)[kThreads - 1]));
}

TEST_CASE("planted: an element left unwritten is NaN") {
  Tensor y = fresh(kThreads);
  launch("leave_last_unwritten", leave_last_unwritten, {.threads = kThreads},
         y.mutable_device_data<float>());
  CHECK(values(y)[kThreads - 2] == 1);
  CHECK(std::isnan(values(y)[kThreads - 1]));
}

TEST_CASE(
    "planted: shared memory that a block never wrote is NaN, whatever the block before left") {
  Tensor y = fresh(2 * kWarp);
  launch("read_unwritten_shared", read_unwritten_shared, {.blocks = 2, .threads = kWarp},
         y.mutable_device_data<float>());
  CHECK(values(y)[0] == 1);
  CHECK(std::isnan(values(y)[kWarp]));
}

TEST_CASE(
    "planted: a barrier that not all reach is an error that names kernel, block and threads") {
  const std::string some =
      error_of([] { launch("wait_in_half", wait_in_half, {.threads = kWarp}); });
  CHECK(contains(some, "kernel wait_in_half, block (0, 0, 0): divergent barrier: "));
  CHECK(contains(some, "threads 16-31 left the kernel"));
  CHECK(contains(some, "threads 0-15 wait at __syncthreads (planted_bugs_test.cu:"));

  const std::string apart = error_of([] { launch("wait_apart", wait_apart, {.threads = kWarp}); });
  CHECK(contains(apart, "kernel wait_apart, block (0, 0, 0), thread ("));
  CHECK(contains(apart, "): divergent barrier: this thread waits at planted_bugs_test.cu:"));

  Tensor y = fresh(kWarp);
  const std::string warp = error_of([&] {
    launch("shuffle_after_leaving", shuffle_after_leaving, {.threads = kWarp},
           y.mutable_device_data<float>());
  });
  CHECK(contains(warp, "threads 0-19 wait at __shfl_xor_sync"));
}

TEST_CASE("a kernel runs as ever after one that failed") {
  error_of([] { launch("wait_in_half", wait_in_half, {.threads = kWarp}); });
  CHECK(taken_from_left<true>(0)[kThreads - 1] == kThreads - 2);
}

TEST_CASE("planted: a read before the wait that covers its copy is NaN") {
  Tensor y = fresh(2);
  launch("read_before_the_copy", read_before_the_copy, {}, counting(4).device_data<float>(),
         y.mutable_device_data<float>());
  CHECK(std::isnan(values(y)[0]));
  CHECK(values(y)[1] == 0);
  launch("wait_for_too_few", wait_for_too_few, {}, counting(8).device_data<float>(),
         y.mutable_device_data<float>());
  CHECK(values(y)[0] == 0);
  CHECK(std::isnan(values(y)[1]));
}

TEST_CASE("planted: a learning rate baked into a graph trains otherwise than one on the device") {
  CHECK(train(false) == 10 - 1.0F - 0.5F - 0.25F);
  CHECK(train(true) == 10 - 1.0F - 0.5F - 0.5F);  // the rate of the step that was recorded
}
