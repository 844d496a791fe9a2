// One functor per op and direction: the rest is map.cuh.
#include "engine/cuda/map.cuh"
#include "engine/ops/pointwise_kernels.h"

namespace decant::cuda {
namespace {

template <class Op>
struct Value {
  __device__ float operator()(int64_t /*i*/, float x) const { return Op::f(x); }
};
template <class Op>
struct Gradient {
  __device__ float operator()(int64_t /*i*/, float kept, float dy) const {
    return dy * Op::df(kept);
  }
};

}  // namespace

template <class Op>
void map_forward(const Tensor& x, Tensor& y) {
  map_tensors(Op::kName.data(), Value<Op>(), y, x);
}

template <class Op>
void map_backward(const Tensor& kept, const Tensor& dy, Tensor& dx) {
  map_tensors(Op::kName.data(), Gradient<Op>(), dx, kept, dy);
}

#define DECANT_INSTANTIATE(function, Op)                            \
  template void map_forward<pointwise::Op>(const Tensor&, Tensor&); \
  template void map_backward<pointwise::Op>(const Tensor&, const Tensor&, Tensor&);
DECANT_POINTWISE_OPS(DECANT_INSTANTIATE)
#undef DECANT_INSTANTIATE

}  // namespace decant::cuda
