// Sums over rows: a reduction of columns, those of one image.
#include "engine/ops/column_sums.h"

#include "engine/ops/columns.cuh"

namespace decant::cuda {
namespace {

struct FloatSum {
  float value;

  static __device__ FloatSum neutral() { return {0.0F}; }
  __device__ void merge(const FloatSum& other) { value += other.value; }
};

template <class T>
struct AddRows {
  const T* x;

  template <int kWidth>
  struct Columns {
    const T* x;

    __device__ void add(FloatSum (&sums)[kWidth], int64_t at) const {
      const Floats<kWidth> values = load<kWidth>(x + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sums[k].value += values.at[k];
    }
  };
  template <int kWidth>
  __device__ Columns<kWidth> columns(int64_t /*image*/, int64_t /*column*/) const {
    return {x};
  }
};

struct StoreSums {
  float* sums;

  __device__ void operator()(int64_t column, const FloatSum& sum) const {
    sums[column] = sum.value;
  }
};

}  // namespace

void column_sums(const char* op, const Tensor& x, int64_t rows, int64_t columns, Tensor& sums) {
  const Middle m = {.outer = 1, .length = rows, .inner = columns};
  const StoreSums sink = {sums.mutable_device_data<float>()};
  with_stored_type(x.dtype(), [&]<class T>() {
    const AddRows<T> source = {x.device_data<T>()};
    with_width<T>({columns}, {source.x},
                  [&]<int kWidth>() { reduce_middle<FloatSum, kWidth>(op, m, source, sink); });
  });
}

}  // namespace decant::cuda
