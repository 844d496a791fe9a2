#include "engine/ops/leaky_relu_kernels.h"

#include "engine/cuda/map.cuh"

namespace decant::cuda {
namespace {

struct Select {
  float slope;
  __device__ float operator()(int64_t /*i*/, float x, float a) const {
    return x > 0.0F ? a : slope * a;
  }
};

}  // namespace

void leaky_select(const Tensor& x, const Tensor& a, double slope, Tensor& y) {
  map_tensors("leaky_relu", Select{static_cast<float>(slope)}, y, x, a);
}

}  // namespace decant::cuda
