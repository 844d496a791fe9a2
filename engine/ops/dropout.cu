// Each element draws the number that decides about it, also where it shares it with its channel or
// sample: the bytes moved and ten rounds of Philox cost about the same.
#include <cmath>

#include "engine/cuda/check.h"
#include "engine/cuda/map.cuh"
#include "engine/ops/dropout_kernels.h"

namespace decant::cuda {
namespace {

// Dropped is what draws less than `least_kept`.
struct Drop {
  Rng rng;
  const int64_t* stream;  // of the step that runs; null: the key's
  DropoutDraws draws;
  uint64_t least_kept;
  float factor;
  __device__ float operator()(int64_t i, float x) const {
    const Rng now = stream == nullptr ? rng : rng.with_stream(static_cast<uint64_t>(*stream));
    return now.bits(draws(i)) < least_kept ? 0.0F : factor * x;
  }
};

}  // namespace

void dropout_kernel(const Tensor& x, double p, const RngKey& key, DropoutOf of,
                    const Tensor& stream, Tensor& y) {
  check(stream.defined() || !capturing(),
        "dropout: expected a stream of numbers that a recorded step reads, since every replay "
        "would drop the same elements");
  const Drop drop = {.rng = Rng(key),
                     .stream = stream.defined() ? stream.device_data<int64_t>() : nullptr,
                     .draws = DropoutDraws::of(x.shape(), of),
                     .least_kept = static_cast<uint64_t>(std::ceil(p * 0x1p32)),  // bits 2^-32 < p
                     .factor = static_cast<float>(1 / (1 - p))};
  map_tensors("dropout", drop, y, x);
}

}  // namespace decant::cuda
