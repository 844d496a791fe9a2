#include "engine/ops/softmax.h"

#include <algorithm>
#include <cmath>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/axis_options.h"
#include "engine/ops/expect.h"
#include "engine/ops/softmax_kernels.h"

// To the kernels x is [outer, length, inner]. They work on up to kWidth neighbours of `inner` at
// once: whole cache lines are read, and the compiler can put the neighbours into one register.

namespace decant {
namespace {

using Rows = SoftmaxRows;

constexpr int64_t kWidth = 64;

Rows rows_of(const Shape& shape, int axis) {
  Rows rows = {1, shape[axis], 1};
  for (int a = 0; a < shape.rank(); ++a) {
    if (a < axis) rows.outer *= shape[a];
    if (a > axis) rows.inner *= shape[a];
  }
  return rows;
}

// Calls f(offset, width) for each block of neighbouring rows.
template <class F>
void for_blocks(Rows rows, F&& f) {
  const int64_t blocks = (rows.inner + kWidth - 1) / kWidth;
  const int64_t size = std::min(rows.inner, kWidth) * rows.length;
  parallel_ranges(rows.outer * blocks,
                  std::max<int64_t>(1, kElementGrain / std::max<int64_t>(size, 1)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t task = begin; task < end; ++task) {
                      const int64_t column = task % blocks * kWidth;
                      f(task / blocks * rows.length * rows.inner + column,
                        std::min(kWidth, rows.inner - column));
                    }
                  });
}

}  // namespace

namespace cpu {
namespace {

void softmax_forward(const Tensor& input, Rows rows, bool logarithm, Tensor& output) {
  with_real_type(input.dtype(), [&]<class T>() {
    const T* in = input.data<T>();
    T* out = output.mutable_data<T>();
    for_blocks(rows, [=](int64_t offset, int64_t width) {
      const T* x = in + offset;
      T* y = out + offset;
      const int64_t end = rows.length * rows.inner;
      T largest[kWidth];
      double sum[kWidth] = {};
      std::copy_n(x, width, largest);
      for (int64_t r = rows.inner; r < end; r += rows.inner)
        for (int64_t i = 0; i < width; ++i) largest[i] = std::max(largest[i], x[r + i]);
      for (int64_t r = 0; r < end; r += rows.inner)
        for (int64_t i = 0; i < width; ++i) {
          const T e = std::exp(x[r + i] - largest[i]);
          sum[i] += static_cast<double>(e);
          y[r + i] = logarithm ? x[r + i] - largest[i] : e;
        }
      for (int64_t i = 0; i < width; ++i) sum[i] = logarithm ? std::log(sum[i]) : 1 / sum[i];
      for (int64_t r = 0; r < end; r += rows.inner)
        for (int64_t i = 0; i < width; ++i) {
          const T s = static_cast<T>(sum[i]);
          y[r + i] = logarithm ? y[r + i] - s : y[r + i] * s;
        }
    });
  });
}

// softmax: dx = y (dy - sum(dy y));  log_softmax: dx = dy - exp(y) sum(dy)
void softmax_backward(const Tensor& result, const Tensor& dy, Rows rows, bool logarithm,
                      Tensor& dx) {
  with_real_type(dy.dtype(), [&]<class T>() {
    const T* saved = result.data<T>();
    const T* gradient = dy.data<T>();
    T* out = dx.mutable_data<T>();
    for_blocks(rows, [=](int64_t offset, int64_t width) {
      const T* y = saved + offset;
      const T* g = gradient + offset;
      T* d = out + offset;
      const int64_t end = rows.length * rows.inner;
      double sum[kWidth] = {};
      for (int64_t r = 0; r < end; r += rows.inner)
        for (int64_t i = 0; i < width; ++i)
          sum[i] += static_cast<double>(logarithm ? g[r + i] : g[r + i] * y[r + i]);
      for (int64_t r = 0; r < end; r += rows.inner)
        for (int64_t i = 0; i < width; ++i) {
          const T s = static_cast<T>(sum[i]);
          d[r + i] = logarithm ? g[r + i] - std::exp(y[r + i]) * s : y[r + i] * (g[r + i] - s);
        }
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kSoftmax = register_op(
    {.name = "softmax", .formula = "y = exp(x) / sum(exp(x))", .source = "Bridle 1990"});
const OpInfo& kLogSoftmax = register_op(
    {.name = "log_softmax", .formula = "y = x - log(sum(exp(x)))", .source = "Bridle 1990"});

Variable softmax_over(const OpInfo& op, const Variable& input, int axis, bool logarithm) {
  const Tensor& x = input.value();
  expect_real(op, x);
  const int a = x.shape().axis(axis, op.name);
  check(x.shape()[a] > 1, op.name, ": axis ", a, " of shape ", x.shape(), " has length ",
        x.shape()[a],
        ", where every result would be 1 and every gradient 0; for one logit use sigmoid");
  const Rows rows = rows_of(x.shape(), a);
  Tensor y(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, softmax_forward, x, rows, logarithm, y);
  return record(op, AxisOptions{a}, y, {input},
                [y = Saved(y), rows, logarithm](const Tensor& dy, const Wanted&) {
                  Tensor dx(dy.shape(), dy.dtype(), dy.device());
                  ON_DEVICE(dy, softmax_backward, y.get(), dy, rows, logarithm, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace

Variable softmax(const Variable& x, int axis) {
  return softmax_over(kSoftmax, x, axis, false);
}

Variable log_softmax(const Variable& x, int axis) {
  return softmax_over(kLogSoftmax, x, axis, true);
}

}  // namespace decant
