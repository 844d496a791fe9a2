// Softmax over the middle of [outer, length, inner]. Where rows are contiguous (inner = 1) and long
// one block takes a row, where they are short one warp: lanes stride along the row. Otherwise one
// thread takes a row, and neighbouring threads neighbouring columns.
#include "engine/ops/row_worker.cuh"
#include "engine/ops/softmax_kernels.h"

namespace decant::cuda {
namespace {

__device__ int64_t offset_of(int64_t row, SoftmaxRows rows) {
  return row / rows.inner * rows.length * rows.inner + row % rows.inner;
}

// Every thread of a warp or block has the same row, so that all or none of them leave early.
template <class Worker>
__global__ void forward_kernel(const float* __restrict__ x, float* __restrict__ y, SoftmaxRows rows,
                               bool logarithm) {
  const int64_t row = Worker::row();
  if (row >= rows.outer * rows.inner) return;
  const float* in = x + offset_of(row, rows);
  float* out = y + offset_of(row, rows);
  float largest = -INFINITY;
  for (int64_t i = Worker::first(); i < rows.length; i += Worker::step())
    largest = fmaxf(largest, in[i * rows.inner]);
  largest = Worker::reduce(largest, -INFINITY, Max());
  float sum = 0.0F;
  for (int64_t i = Worker::first(); i < rows.length; i += Worker::step())
    sum += expf(in[i * rows.inner] - largest);
  sum = Worker::reduce(sum, 0.0F, Sum());
  const float scale = 1.0F / sum;
  const float shift = logf(sum);
  for (int64_t i = Worker::first(); i < rows.length; i += Worker::step()) {
    const float centred = in[i * rows.inner] - largest;
    out[i * rows.inner] = logarithm ? centred - shift : expf(centred) * scale;
  }
}

// softmax: dx = y (dy - sum(dy y));  log_softmax: dx = dy - exp(y) sum(dy)
template <class Worker>
__global__ void backward_kernel(const float* __restrict__ y, const float* __restrict__ dy,
                                float* __restrict__ dx, SoftmaxRows rows, bool logarithm) {
  const int64_t row = Worker::row();
  if (row >= rows.outer * rows.inner) return;
  const int64_t offset = offset_of(row, rows);
  float sum = 0.0F;
  for (int64_t i = Worker::first(); i < rows.length; i += Worker::step()) {
    const int64_t at = offset + i * rows.inner;
    sum += logarithm ? dy[at] : dy[at] * y[at];
  }
  sum = Worker::reduce(sum, 0.0F, Sum());
  for (int64_t i = Worker::first(); i < rows.length; i += Worker::step()) {
    const int64_t at = offset + i * rows.inner;
    dx[at] = logarithm ? dy[at] - expf(y[at]) * sum : y[at] * (dy[at] - sum);
  }
}

}  // namespace

void softmax_forward(const Tensor& x, SoftmaxRows rows, bool logarithm, Tensor& y) {
  with_worker(rows.outer * rows.inner, rows.length, rows.inner == 1,
              [&]<class Worker>(Worker, const Grid& grid) {
                launch("softmax", forward_kernel<Worker>, grid, x.device_data<float>(),
                       y.mutable_device_data<float>(), rows, logarithm);
              });
}

void softmax_backward(const Tensor& y, const Tensor& dy, SoftmaxRows rows, bool logarithm,
                      Tensor& dx) {
  with_worker(rows.outer * rows.inner, rows.length, rows.inner == 1,
              [&]<class Worker>(Worker, const Grid& grid) {
                launch("softmax backward", backward_kernel<Worker>, grid, y.device_data<float>(),
                       dy.device_data<float>(), dx.mutable_device_data<float>(), rows, logarithm);
              });
}

}  // namespace decant::cuda
