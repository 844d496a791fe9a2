// Sums and maxima as columns.cuh cuts them: each element is read once, which is what bounds them.
// Repeating and scattering: one thread per element, or per 16 bytes of neighbours.
#include <cmath>

#include "engine/ops/columns.cuh"

namespace decant::cuda {
namespace {

// A sum and what its roundings lost, together good for 48 bits: there are no doubles here.
// Source: Knuth, "The Art of Computer Programming" 2, 4.2.2, theorem B.
struct TwoFloats {
  float sum, lost;

  static __device__ TwoFloats neutral() { return {0.0F, 0.0F}; }
  __device__ void add(float term) {
    const float total = sum + term;
    const float added = total - sum;
    lost += (sum - (total - added)) + (term - added);
    sum = total;
  }
  __device__ void merge(const TwoFloats& other) {
    add(other.sum);
    lost += other.lost;
  }
  // Of infinite sums the loss is NaN.
  __device__ float value() const { return std::isfinite(sum) ? sum + lost : sum; }
};

template <class T>
struct AddValues {
  const T* x;
  template <int kWidth>
  __device__ AddValues columns(int64_t /*image*/, int64_t /*column*/) const {
    return *this;
  }
  template <int kWidth>
  __device__ void add(TwoFloats (&states)[kWidth], int64_t at) const {
    const Floats<kWidth> values = load<kWidth>(x + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) states[k].add(values.at[k]);
  }
};
template <class T>
struct AddProducts {
  const T* a;
  const T* b;
  template <int kWidth>
  __device__ AddProducts columns(int64_t /*image*/, int64_t /*column*/) const {
    return *this;
  }
  template <int kWidth>
  __device__ void add(TwoFloats (&states)[kWidth], int64_t at) const {
    const Floats<kWidth> p = load<kWidth>(a + at);
    const Floats<kWidth> q = load<kWidth>(b + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) states[k].add(p.at[k] * q.at[k]);
  }
};
template <class T>
struct StoreSum {
  T* y;
  float factor;
  __device__ void operator()(int64_t at, const TwoFloats& state) const {
    y[at] = static_cast<T>(factor * state.value());
  }
};

// NaN is larger than any number; of equals the first counts.
struct Largest {
  float value;
  int64_t position;

  static __device__ Largest neutral() { return {-INFINITY, INT64_MAX}; }
  __device__ void merge(const Largest& other) {
    const bool nan = std::isnan(value);
    const bool other_nan = std::isnan(other.value);
    const bool equal = nan ? other_nan : value == other.value;
    const bool larger = !nan && (other_nan || other.value > value);
    if (larger || (equal && other.position < position)) *this = other;
  }
};

struct CompareFloats {
  const float* x;
  const int64_t* before;  // or null
  template <int kWidth>
  __device__ CompareFloats columns(int64_t /*image*/, int64_t /*column*/) const {
    return *this;
  }
  template <int kWidth>
  __device__ void add(Largest (&states)[kWidth], int64_t at) const {
    const Floats<kWidth> values = load<kWidth>(x + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      states[k].merge({values.at[k], before == nullptr ? at + k : before[at + k]});
  }
};
struct StoreLargest {
  float* y;
  int64_t* position;
  __device__ void operator()(int64_t at, const Largest& state) const {
    y[at] = state.value;
    position[at] = state.position;
  }
};

__global__ void scatter_kernel(const float* __restrict__ dy, const int64_t* __restrict__ position,
                               float* __restrict__ dx, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) dx[position[i]] = dy[i];
}

template <int kWidth, class T>
__global__ void repeat_kernel(const T* __restrict__ x, Middle m, float factor, T* __restrict__ y,
                              int64_t n) {
  for (int64_t i = global_thread() * kWidth; i < n; i += all_threads() * kWidth) {
    const int64_t row = i / m.inner;
    Floats<kWidth> values = load<kWidth>(x + row / m.length * m.inner + i % m.inner);
#pragma unroll
    for (float& value : values.at) value *= factor;
    store(y + i, values);
  }
}

}  // namespace

void sum_middle(const Tensor& x, Middle m, double factor, Tensor& y) {
  with_stored_type(x.dtype(), [&]<class X>() {
    with_stored_type(y.dtype(), [&]<class Y>() {
      const AddValues<X> source = {x.device_data<X>()};
      const StoreSum<Y> sink = {y.mutable_device_data<Y>(), static_cast<float>(factor)};
      with_width<X>({m.inner}, {source.x}, [&]<int kWidth>() {
        reduce_middle<TwoFloats, kWidth>("sum", m, source, sink);
      });
    });
  });
}

void product_sum_middle(const Tensor& a, const Tensor& b, Middle m, Tensor& y) {
  with_stored_type(a.dtype(), [&]<class T>() {
    const AddProducts<T> source = {a.device_data<T>(), b.device_data<T>()};
    const StoreSum<T> sink = {y.mutable_device_data<T>(), 1.0F};
    with_width<T>({m.inner}, {source.a, source.b}, [&]<int kWidth>() {
      reduce_middle<TwoFloats, kWidth>("sum of products", m, source, sink);
    });
  });
}

void max_middle(const Tensor& x, const Tensor& before, Middle m, Tensor& y, Tensor& position) {
  const CompareFloats source = {x.device_data<float>(),
                                before.defined() ? before.device_data<int64_t>() : nullptr};
  const StoreLargest sink = {y.mutable_device_data<float>(),
                             position.mutable_device_data<int64_t>()};
  with_width<float>({m.inner}, {source.x},
                    [&]<int kWidth>() { reduce_middle<Largest, kWidth>("max", m, source, sink); });
}

void max_scatter(const Tensor& dy, const Tensor& position, Tensor& dx) {
  launch("max backward", scatter_kernel, grid_over(dy.size()), dy.device_data<float>(),
         position.device_data<int64_t>(), dx.mutable_device_data<float>(), dy.size());
}

void repeat_middle(const Tensor& x, Middle m, double factor, Tensor& y) {
  with_stored_type(x.dtype(), [&]<class T>() {
    const T* in = x.device_data<T>();
    T* out = y.mutable_device_data<T>();
    with_width<T>({m.inner}, {in, out}, [&]<int kWidth>() {
      launch("repeat", repeat_kernel<kWidth, T>, grid_over(y.size() / kWidth), in, m,
             static_cast<float>(factor), out, y.size());
    });
  });
}

}  // namespace decant::cuda
