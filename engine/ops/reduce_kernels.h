#pragma once

#include <vector>

#include "engine/core/parallel.h"
#include "engine/core/tensor.h"

namespace decant {

/// For each axis of a shape, whether it is reduced.
using AxisMask = std::vector<bool>;

/// What a group of neighbouring axes is to a kernel, which reduces, or repeats, the middle.
struct Middle {
  int64_t outer, length, inner;
};

constexpr int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// factor * the sum over the marked axes, which stay with extent 1.
Tensor sum_over(const Tensor& x, const AxisMask& reduced, double factor = 1);

/// The transpose of broadcasting: the sum of x over all that `shape` would be repeated along.
/// x itself where the shapes agree.
Tensor sum_to(const Tensor& x, const Shape& shape);

/// Whether that sums up one group of neighbouring axes of x; if so, `middle` is how a kernel sees
/// it.
bool sums_one_group(const Shape& x, const Shape& shape, Middle& middle);

/// x repeated along its axes of extent 1 to match `shape` of the same rank, times factor.
Tensor broadcast_to(const Tensor& x, const Shape& shape, double factor = 1);

/// The sum of f(begin, end) over ranges of `grain` that cover [0, size), computed in parallel and
/// added in order: f returns the sum of its range.
template <class F>
double ordered_sum(int64_t size, int64_t grain, F&& f) {
  std::vector<double> partial(static_cast<size_t>((size + grain - 1) / grain));
  parallel_ranges(size, grain, [&](int64_t begin, int64_t end) {
    partial[static_cast<size_t>(begin / grain)] = f(begin, end);
  });
  double total = 0;
  for (const double p : partial) total += p;
  return total;
}

namespace cuda {

/// x [outer, length, inner] -> y [outer, inner], factor times the sums; of float32 or bfloat16
/// each.
void sum_middle(const Tensor& x, Middle m, double factor, Tensor& y);
/// The same of the products a b, in one pass.
void product_sum_middle(const Tensor& a, const Tensor& b, Middle m, Tensor& y);
/// The maxima and where they lie: `before` holds the positions of x's elements, undefined where
/// they are their own.
void max_middle(const Tensor& x, const Tensor& before, Middle m, Tensor& y, Tensor& position);
/// dx is dy where `position` says, and stays what it was elsewhere.
void max_scatter(const Tensor& dy, const Tensor& position, Tensor& dx);
/// x [outer, inner] -> y [outer, length, inner], times factor.
void repeat_middle(const Tensor& x, Middle m, double factor, Tensor& y);

}  // namespace cuda
}  // namespace decant
