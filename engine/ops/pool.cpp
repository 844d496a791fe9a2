#include "engine/ops/pool.h"

#include <algorithm>
#include <limits>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/core/view.h"
#include "engine/ops/axis_taps.h"
#include "engine/ops/expect.h"
#include "engine/ops/pool_kernels.h"

namespace decant {
namespace cpu {
namespace {

void max_pool_forward(const Tensor& input, const PoolOptions& pool, Tensor& output,
                      Tensor& winner) {
  with_real_type(input.dtype(), [&]<class T>() {
    const View<const T> x = view_of<T>(input, "max_pool2d");
    const View<T> y = mutable_view_of<T>(output, "max_pool2d");
    auto* winners = winner.mutable_data<int32_t>();
    const int64_t row_size = std::max<int64_t>(1, y.w * y.c * pool.kernel);
    parallel_ranges(y.n * y.h, std::max<int64_t>(1, kElementGrain / row_size),
                    [=](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row)
                        for (int64_t ow = 0; ow < y.w; ++ow) {
                          T* best = y.pixel(row / y.h, row % y.h, ow);
                          int32_t* where = winners + (row * y.w + ow) * y.c;
                          std::fill_n(best, y.c, -std::numeric_limits<T>::infinity());
                          std::fill_n(where, y.c, -1);
                          const int64_t top = row % y.h * pool.stride - pool.padding;
                          const int64_t left = ow * pool.stride - pool.padding;
                          for (int64_t kh = std::max<int64_t>(0, -top);
                               kh < std::min(pool.kernel, x.h - top); ++kh)
                            for (int64_t kw = std::max<int64_t>(0, -left);
                                 kw < std::min(pool.kernel, x.w - left); ++kw) {
                              const T* in = x.pixel(row / y.h, top + kh, left + kw);
                              const auto place = static_cast<int32_t>(kh * pool.kernel + kw);
                              for (int64_t i = 0; i < y.c; ++i) {
                                // NaN wins, so that it shows; of equals the first.
                                const bool wins = in[i] > best[i] || in[i] != in[i] || where[i] < 0;
                                best[i] = wins ? in[i] : best[i];
                                where[i] = wins ? place : where[i];
                              }
                            }
                        }
                    });
  });
}

void max_pool_backward(const Tensor& gradient, const Tensor& winner, const PoolOptions& pool,
                       Tensor& result) {
  with_real_type(gradient.dtype(), [&]<class T>() {
    const View<const T> dy = view_of<T>(gradient, "max_pool2d");
    const View<T> dx = mutable_view_of<T>(result, "max_pool2d");
    const auto* winners = winner.data<int32_t>();
    // The first window that reaches position p, and the one after the last.
    const auto first_of = [pool](int64_t p) {
      return std::max<int64_t>(0, (p + pool.padding - pool.kernel + pool.stride) / pool.stride);
    };
    const auto end_of = [pool](int64_t p, int64_t outputs) {
      return std::min(outputs, (p + pool.padding) / pool.stride + 1);
    };
    const int64_t row_size = std::max<int64_t>(1, dx.w * dx.c);
    parallel_ranges(dx.n * dx.h, std::max<int64_t>(1, kElementGrain / row_size),
                    [=](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        const int64_t n = row / dx.h;
                        const int64_t ih = row % dx.h;
                        for (int64_t iw = 0; iw < dx.w; ++iw) {
                          T* d = dx.pixel(n, ih, iw);
                          std::fill_n(d, dx.c, T(0));
                          for (int64_t oh = first_of(ih); oh < end_of(ih, dy.h); ++oh)
                            for (int64_t ow = first_of(iw); ow < end_of(iw, dy.w); ++ow) {
                              const int64_t kh = ih + pool.padding - oh * pool.stride;
                              const int64_t kw = iw + pool.padding - ow * pool.stride;
                              const auto place = static_cast<int32_t>(kh * pool.kernel + kw);
                              const T* g = dy.pixel(n, oh, ow);
                              const int32_t* where = winners + ((n * dy.h + oh) * dy.w + ow) * dy.c;
                              for (int64_t i = 0; i < dx.c; ++i)
                                d[i] += where[i] == place ? g[i] : T(0);
                            }
                        }
                      }
                    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kMaxPool = register_op({.name = "max_pool2d",
                                      .formula = "y = maximum over windows",
                                      .source = "Ranzato et al. 2007",
                                      .stored = kEveryInput});
const OpInfo& kAvgPool = register_op({.name = "avg_pool2d",
                                      .formula = "y = mean over windows",
                                      .source = "LeCun et al. 1998",
                                      .stored = kEveryInput});
const OpInfo& kAdaptive = register_op({.name = "adaptive_avg_pool2d",
                                       .formula = "y = mean over windows that cover the image",
                                       .source = "PyTorch's adaptive_avg_pool2d",
                                       .stored = kEveryInput});

struct SizeOptions {
  int64_t h, w;
  void visit(auto&& v) const {
    v("h", h);
    v("w", w);
  }
};

// The options with the stride filled in, checked against x.
PoolOptions checked(const OpInfo& op, const Tensor& x, PoolOptions pool) {
  expect_image(op, x);
  if (pool.stride == 0) pool.stride = pool.kernel;
  constexpr int64_t kLargest = 46340;  // whose places an int32 counts
  check(pool.kernel >= 1 && pool.kernel <= kLargest && pool.stride >= 1 && pool.padding >= 0 &&
            pool.padding <= pool.kernel / 2,
        op.name, ": expected a kernel from 1 to ", kLargest,
        ", a stride of at least 1 and padding of at most half the kernel, got kernel ", pool.kernel,
        ", stride ", pool.stride, ", padding ", pool.padding);
  check(x.shape()[1] + 2 * pool.padding >= pool.kernel &&
            x.shape()[2] + 2 * pool.padding >= pool.kernel,
        op.name, ": expected an image that holds a window of ", pool.kernel, " with padding ",
        pool.padding, ", got ", x.shape());
  return pool;
}

int64_t pooled(int64_t extent, const PoolOptions& pool) {
  return (extent + 2 * pool.padding - pool.kernel) / pool.stride + 1;
}

template <class Options>
Variable mean_pool(const OpInfo& op, const Options& options, const Variable& input,
                   const AxisTaps& rows, const AxisTaps& columns) {
  const Tensor& x = input.value();
  const Shape& s = x.shape();
  Tensor y({s[0], rows.outputs(), columns.outputs(), s[3]}, x.dtype(), x.device());
  ON_DEVICE(x, apply_taps, rows, columns, x, y, {.channels = s[3]});
  return record(op, options, y, {input}, [rows, columns, s](const Tensor& dy, const Wanted&) {
    Tensor dx(s, dy.dtype(), dy.device());
    ON_DEVICE(dy, apply_taps, rows.transposed(), columns.transposed(), dy, dx, {.channels = s[3]});
    return std::vector<Tensor>{dx};
  });
}

}  // namespace

Variable max_pool2d(const Variable& input, const PoolOptions& options) {
  const Tensor& x = input.value();
  const PoolOptions pool = checked(kMaxPool, x, options);
  const Shape& s = x.shape();
  Tensor y({s[0], pooled(s[1], pool), pooled(s[2], pool), s[3]}, x.dtype(), x.device());
  Tensor winner(y.shape(), DType::i32, x.device());
  ON_DEVICE(x, max_pool_forward, x, pool, y, winner);
  return record(kMaxPool, pool, y, {input}, [s, winner, pool](const Tensor& dy, const Wanted&) {
    Tensor dx(s, dy.dtype(), dy.device());
    ON_DEVICE(dy, max_pool_backward, dy, winner, pool, dx);
    return std::vector<Tensor>{dx};
  });
}

Variable avg_pool2d(const Variable& x, const PoolOptions& options) {
  const PoolOptions pool = checked(kAvgPool, x.value(), options);
  return mean_pool(kAvgPool, pool, x,
                   window_taps(x.shape()[1], pool.kernel, pool.stride, pool.padding),
                   window_taps(x.shape()[2], pool.kernel, pool.stride, pool.padding));
}

Variable adaptive_avg_pool2d(const Variable& x, int64_t h, int64_t w) {
  expect_image(kAdaptive, x.value());
  check(h >= 1 && w >= 1, "adaptive_avg_pool2d: expected a size of at least 1 x 1, got ", h, " x ",
        w, " for x ", x.shape());
  return mean_pool(kAdaptive, SizeOptions{h, w}, x, adaptive_taps(x.shape()[1], h),
                   adaptive_taps(x.shape()[2], w));
}

}  // namespace decant
