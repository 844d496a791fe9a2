// Matrix instructions and asynchronous copies, against products written out.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/ptx.cuh"

using namespace decant;
using namespace decant::cuda;

namespace {

// One warp: d [16, 8] = a [16, 16] b [16, 8], all row-major, operands rounded to bf16.
__global__ void multiply_bf16(const float* a, const float* b, float* d) {
  SHARED(left, bf16[16][16]);
  SHARED(right, bf16[16][8]);
  for (unsigned i = threadIdx.x; i < 256; i += kWarp) left[i / 16][i % 16] = bf16(a[i]);
  for (unsigned i = threadIdx.x; i < 128; i += kWarp) right[i / 8][i % 8] = bf16(b[i]);
  __syncwarp();
  const int me = lane();
  uint32_t as[4];
  uint32_t bs[2];
  ldmatrix_x4(as, &left[me % 16][me / 16 * 8]);
  ldmatrix_x2_trans(bs, &right[me % 16][0]);
  float sums[4] = {1, 1, 1, 1};  // what is there is added to
  mma_bf16(sums, as, bs);
  for (int i = 0; i < 4; ++i) d[(me / 4 + 8 * (i / 2)) * 8 + 2 * (me % 4) + i % 2] = sums[i];
}

// The same from b transposed, [8, 16], and with the operands packed by hand.
__global__ void multiply_bf16_packed(const float* a, const float* b_transposed, float* d) {
  const int g = lane() / 4;
  const int t = lane() % 4;
  const auto pair = [](const float* p) { return pack_bf16(p[0], p[1]); };
  const uint32_t as[4] = {pair(a + 16 * g + 2 * t), pair(a + 16 * (g + 8) + 2 * t),
                          pair(a + 16 * g + 2 * t + 8), pair(a + 16 * (g + 8) + 2 * t + 8)};
  const uint32_t bs[2] = {pair(b_transposed + 16 * g + 2 * t),
                          pair(b_transposed + 16 * g + 2 * t + 8)};
  float sums[4] = {1, 1, 1, 1};
  mma_bf16(sums, as, bs);
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sums[i];
}

// d [16, 8] = 1 + a [16, 8] b [8, 8], operands rounded to tf32.
__global__ void multiply_tf32(const float* a, const float* b, float* d) {
  const int g = lane() / 4;
  const int t = lane() % 4;
  const uint32_t as[4] = {to_tf32(a[8 * g + t]), to_tf32(a[8 * (g + 8) + t]),
                          to_tf32(a[8 * g + t + 4]), to_tf32(a[8 * (g + 8) + t + 4])};
  const uint32_t bs[2] = {to_tf32(b[8 * t + g]), to_tf32(b[8 * (t + 4) + g])};
  float sums[4] = {1, 1, 1, 1};
  mma_tf32(sums, as, bs);
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sums[i];
}

// Copies n floats through two buffers, the next on its way while one is read; beyond n zeros.
__global__ void copy_in_stages(const float* x, float* y, int n, int rounded) {
  SHARED(buffer, float[2][128]);
  const auto begin = [&](int stage, int first) {
    const int i = first + 4 * static_cast<int>(threadIdx.x);
    const int valid = i >= n ? 0 : (n - i < 4 ? n - i : 4);
    cp_async16(&buffer[stage][4 * threadIdx.x], x + (i < n ? i : 0),
               static_cast<unsigned>(valid) * 4);
    cp_async_commit();
  };
  begin(0, 0);
  for (int first = 0, stage = 0; first < rounded; first += 128, stage ^= 1) {
    if (first + 128 < rounded)
      begin(stage ^ 1, first + 128);
    else
      cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < 128; i += kWarp)
      y[first + i] = buffer[stage][i];
    __syncthreads();
  }
  cp_async_wait<0>();
}

__global__ void load_each_way(uint32_t* y) {
  SHARED(tile, uint16_t[32][8]);
  for (int i = 0; i < 8; ++i)
    tile[threadIdx.x][i] = static_cast<uint16_t>(100 * threadIdx.x + static_cast<unsigned>(i));
  __syncwarp();
  uint32_t plain[4];
  uint32_t turned[4];
  ldmatrix_x4(plain, &tile[lane()][0]);
  ldmatrix_x4_trans(turned, &tile[lane()][0]);
  for (int m = 0; m < 4; ++m) {
    y[8 * lane() + m] = plain[m];
    y[8 * lane() + 4 + m] = turned[m];
  }
}

Tensor floats(Shape shape, uint64_t seed) {
  return randn(shape, seed).to(DType::f32);
}

// 1 + a b in double, of operands rounded by `round`.
template <class Round>
std::vector<double> product(const Tensor& a, const Tensor& b, Round round) {
  const int64_t k = a.shape()[1];
  std::vector<double> d(16 * 8, 1.0);
  for (int64_t i = 0; i < 16; ++i)
    for (int64_t j = 0; j < 8; ++j)
      for (int64_t l = 0; l < k; ++l)
        d[static_cast<size_t>(8 * i + j)] +=
            static_cast<double>(round(a.data<float>()[k * i + l])) *
            static_cast<double>(round(b.data<float>()[8 * l + j]));
  return d;
}

void check_close(const Tensor& got, const std::vector<double>& expected) {
  const Tensor host = got.to(Device::cpu);
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(host.values<float>()[i] == doctest::Approx(expected[i]).epsilon(1e-5));
}

float as_bf16(float x) {
  return bf16(x);
}

// Nearest with 10 bits of fraction, ties away from zero, by arithmetic instead of by bits.
float as_tf32(float x) {
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return std::ldexp(std::round(std::ldexp(fraction, 11)), exponent - 11);
}

}  // namespace

TEST_CASE("bf16 rounds to the nearest, ties to even") {
  CHECK(bf16(1.0F).bits == 0x3F80);
  CHECK(bf16(-2.5F).bits == 0xC020);
  CHECK(static_cast<float>(bf16(1.0F + 0x1p-9F)) == 1.0F);             // below the middle
  CHECK(static_cast<float>(bf16(1.0F + 0x1p-8F)) == 1.0F);             // the middle, to even
  CHECK(static_cast<float>(bf16(1.0F + 3 * 0x1p-8F)) == 1 + 0x1p-6F);  // the middle, to even
  CHECK(static_cast<float>(bf16(1.0F + 0x1.1p-8F)) == 1 + 0x1p-7F);
  CHECK(std::isinf(static_cast<float>(bf16(3.4e38F))));
  CHECK(std::isnan(static_cast<float>(bf16(NAN))));
}

TEST_CASE("the bf16 product of ldmatrix operands, and of packed ones") {
  const Tensor a = floats({16, 16}, 1);
  const Tensor b = floats({16, 8}, 2);
  Tensor transposed({8, 16});
  for (int64_t i = 0; i < 128; ++i)
    transposed.mutable_data<float>()[i % 8 * 16 + i / 8] = b.data<float>()[i];
  const Tensor on_device = a.to(Device::cuda);
  const std::vector<double> expected = product(a, b, as_bf16);
  Tensor d({16, 8}, DType::f32, Device::cuda);
  launch("multiply_bf16", multiply_bf16, {.threads = kWarp}, on_device.device_data<float>(),
         b.to(Device::cuda).device_data<float>(), d.mutable_device_data<float>());
  check_close(d, expected);
  d.fill(0);
  launch("multiply_bf16_packed", multiply_bf16_packed, {.threads = kWarp},
         on_device.device_data<float>(), transposed.to(Device::cuda).device_data<float>(),
         d.mutable_device_data<float>());
  check_close(d, expected);
}

TEST_CASE("the tf32 product") {
  const Tensor a = floats({16, 8}, 3);
  const Tensor b = floats({8, 8}, 4);
  Tensor d({16, 8}, DType::f32, Device::cuda);
  launch("multiply_tf32", multiply_tf32, {.threads = kWarp},
         a.to(Device::cuda).device_data<float>(), b.to(Device::cuda).device_data<float>(),
         d.mutable_device_data<float>());
  check_close(d, product(a, b, as_tf32));
}

TEST_CASE("asynchronous copies in two stages, zeros beyond the end") {
  for (const int n : {1, 3, 128, 129, 500, 1024}) {
    const int rounded = (n + 127) / 128 * 128;
    const Tensor x = floats({n}, 5);
    Tensor y({rounded}, DType::f32, Device::cuda);
    launch("copy_in_stages", copy_in_stages, {.threads = kWarp},
           x.to(Device::cuda).device_data<float>(), y.mutable_device_data<float>(), n, rounded);
    const Tensor host = y.to(Device::cpu);
    for (int i = 0; i < rounded; ++i)
      CHECK(host.data<float>()[i] == (i < n ? x.data<float>()[i] : 0.0F));
  }
}

TEST_CASE("ldmatrix gives each lane its pairs, and the transposed ones") {
  Tensor y({256}, DType::i32, Device::cuda);
  launch("load_each_way", load_each_way, {.threads = kWarp},
         reinterpret_cast<uint32_t*>(y.mutable_device_data<int32_t>()));
  const Tensor host = y.to(Device::cpu);
  for (int lane = 0; lane < 32; ++lane)
    for (int m = 0; m < 4; ++m) {
      const int row = 8 * m + lane / 4;
      const int column = 2 * (lane % 4);
      CHECK(host.data<int>()[8 * lane + m] ==
            (100 * row + column) + ((100 * row + column + 1) << 16));
      CHECK(host.data<int>()[8 * lane + 4 + m] ==
            (100 * (8 * m + column) + lane / 4) +
                (((100 * (8 * m + column + 1) + lane / 4)) << 16));
    }
}
