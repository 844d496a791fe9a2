#pragma once

#include "engine/ops/columns.cuh"

// Moments of columns, for the normalizations.

namespace decant::cuda {

/// The mean and the spread of values, one by one and set by set.
/// Source: Welford 1962 for single values; Chan, Golub & LeVeque 1979 for two sets.
struct Moments {
  float count, mean, squares;  // squares: the sum of (x - mean)^2

  static __device__ Moments neutral() { return {0.0F, 0.0F, 0.0F}; }
  // The n-th value; share is 1 / n.
  __device__ void add(float x, float n, float share) {
    count = n;
    const float before = x - mean;
    mean += before * share;
    squares += before * (x - mean);
  }
  __device__ void merge(const Moments& other) {
    if (other.count == 0.0F) return;
    const float total = count + other.count;
    const float part = other.count / total;
    const float apart = other.mean - mean;
    mean += apart * part;
    squares += other.squares + apart * apart * (count * part);
    count = total;
  }
};

/// The source of Moments of x [outer, length, inner].
template <class T>
struct AddToMoments {
  const T* x;

  // A thread meets as many values of each of its channels: one division serves them all.
  template <int kWidth>
  struct Columns {
    const T* x;
    float count;

    __device__ void add(Moments (&states)[kWidth], int64_t at) {
      const Floats<kWidth> values = load<kWidth>(x + at);
      count += 1.0F;
      const float share = 1.0F / count;
#pragma unroll
      for (int k = 0; k < kWidth; ++k) states[k].add(values.at[k], count, share);
    }
  };
  template <int kWidth>
  __device__ Columns<kWidth> columns(int64_t /*image*/, int64_t /*column*/) const {
    return {x, 0.0F};
  }
};

__device__ inline float inverse_deviation(float var, float eps) {
  return 1.0F / sqrtf(var + eps);
}

}  // namespace decant::cuda
