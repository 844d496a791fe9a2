// Sums that several blocks share: each writes what it added up, then one thread per result adds
// those up in order. Reads every part once, and is bound by that.
#include "engine/ops/conv2d_gather.cuh"

namespace decant::cuda {
namespace {

template <class T>
__global__ void sum_parts_kernel(const float* __restrict__ partial, int64_t parts, int64_t size,
                                 const float* __restrict__ bias, int64_t channels,
                                 T* __restrict__ y) {
  for (int64_t i = global_thread(); i < size; i += all_threads()) {
    float sum = bias == nullptr ? 0.0F : bias[i % channels];
#pragma unroll 16
    for (int64_t part = 0; part < parts; ++part) sum += partial[part * size + i];
    y[i] = T(sum);
  }
}

}  // namespace

void sum_parts(const char* op, const Tensor& partial, const Tensor& bias, Tensor& y) {
  with_stored_type(y.dtype(), [&]<class T>() {
    launch(op, sum_parts_kernel<T>, grid_over(y.size()), partial.device_data<float>(),
           partial.size() / y.size(), y.size(), data_or_null(bias),
           bias.defined() ? bias.size() : 1, y.mutable_device_data<T>());
  });
}

int parts_for(int64_t blocks, int64_t steps) {
  constexpr int64_t kMinSteps = 8;  // of a part, so that adding up dwarfs writing
  constexpr int64_t kMaxParts = 256;
  if (blocks == 0 || blocks >= kBlocksToFill) return 1;
  const int64_t wanted = 2 * kBlocksToFill / blocks;
  return static_cast<int>(std::clamp<int64_t>(steps / kMinSteps, 1, std::min(wanted, kMaxParts)));
}

}  // namespace decant::cuda
