#include "engine/cuda/map.cuh"
#include "engine/ops/cast_kernels.h"

namespace decant::cuda {
void convert(const Tensor& from, Tensor& to) {
  with_stored_type(from.dtype(), [&]<class From>() {
    with_stored_type(to.dtype(), [&]<class To>() {
      map_elements("cast", Same(), to.size(), to.mutable_device_data<To>(),
                   from.device_data<From>());
    });
  });
}

}  // namespace decant::cuda
