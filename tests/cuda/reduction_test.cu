// Reductions of kernel.cuh: every thread has the result, and the bits are those of a fixed order.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/check/op_row.h"
#include "engine/cuda/kernel.cuh"

using namespace decant;
using namespace decant::cuda;

namespace {

struct Extremes {
  float low, high;
};
struct Widen {
  __device__ Extremes operator()(Extremes a, Extremes b) const {
    return {fminf(a.low, b.low), fmaxf(a.high, b.high)};
  }
};

// For each thread: the sum over its warp, that over the block, and the block's extremes.
__global__ void reduce_kernel(const float* x, float* y) {
  const float value = x[threadIdx.x];
  const unsigned n = blockDim.x;
  y[threadIdx.x] = warp_sum(value);
  y[n + threadIdx.x] = block_sum(value);
  const Extremes all = block_reduce(Extremes{value, value}, Extremes{INFINITY, -INFINITY}, Widen());
  y[2 * n + threadIdx.x] = all.low;
  y[3 * n + threadIdx.x] = all.high;
}

// A tree over neighbours, as the header promises.
float tree(const float* x, int64_t n) {
  return n == 1 ? x[0] : tree(x, n / 2) + tree(x + n / 2, n / 2);
}

}  // namespace

TEST_CASE("reductions over warps and blocks reach every thread, in the order of a tree") {
  for (const int n : {32, 64, 256, 1024}) {
    const Tensor x = randn({n}, 3).to(DType::f32);
    Tensor y({4, n}, DType::f32, Device::cuda);
    launch("reduce_kernel", reduce_kernel, {.threads = static_cast<unsigned>(n)},
           x.to(Device::cuda).device_data<float>(), y.mutable_device_data<float>());
    const Tensor host = y.to(Device::cpu);
    const float* in = x.data<float>();
    for (int i = 0; i < n; ++i) {
      CHECK(host.data<float>()[i] == tree(in + i / 32 * 32, 32));
      CHECK(host.data<float>()[n + i] == tree(in, n));
      CHECK(host.data<float>()[2 * n + i] == *std::min_element(in, in + n));
      CHECK(host.data<float>()[3 * n + i] == *std::max_element(in, in + n));
    }
  }
}
