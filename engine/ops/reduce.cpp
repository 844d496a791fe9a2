#include "engine/ops/reduce.h"

#include <algorithm>
#include <cmath>

#include "engine/core/on_device.h"
#include "engine/ops/expect.h"
#include "engine/ops/optimizer.h"
#include "engine/ops/reduce_kernels.h"

// Neighbouring axes that are reduced together are one axis to the kernels, which see
// [outer, length, inner] and reduce the middle. Where reduced axes are not neighbours, the groups
// are reduced one after the other, the fastest first.

namespace decant {
namespace {

struct Group {
  int first, last;  // axes first to last are reduced
};

std::vector<Group> groups_of(const AxisMask& reduced) {
  std::vector<Group> groups;
  for (int axis = static_cast<int>(reduced.size()) - 1; axis >= 0; --axis) {
    if (!reduced[static_cast<size_t>(axis)]) continue;
    if (!groups.empty() && groups.back().first == axis + 1)
      groups.back().first = axis;
    else
      groups.push_back({axis, axis});
  }
  return groups;
}

Middle middle_of(const Shape& shape, Group group) {
  Middle m = {1, 1, 1};
  for (int axis = 0; axis < shape.rank(); ++axis) {
    int64_t& part = axis < group.first ? m.outer : axis <= group.last ? m.length : m.inner;
    part *= shape[axis];
  }
  return m;
}

Shape shape_after(Shape shape, Group group) {
  for (int axis = group.first; axis <= group.last; ++axis) shape[axis] = 1;
  return shape;
}

}  // namespace

namespace cpu {
namespace {

// The rows of one task, added into doubles: `rows` of `width` neighbours, `stride` apart.
template <class T>
void add_rows(const T* x, int64_t rows, int64_t stride, int64_t width, double* sum) {
  if (width == 1 && stride == 1) {
    constexpr int64_t kLanes = 8;  // independent sums, which the compiler keeps in registers
    double lane[kLanes] = {};
    int64_t r = 0;
    for (; r + kLanes <= rows; r += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) lane[k] += static_cast<double>(x[r + k]);
    for (; r < rows; ++r) lane[0] += static_cast<double>(x[r]);
    for (const double part : lane) *sum += part;
    return;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) sum[i] += static_cast<double>(x[r * stride + i]);
}

// Input and output may be of different types: sums over several groups of axes are kept in float64
// between them.
// A task sums `rows` rows of a block of columns; tasks of the same column are merged in order.
void sum_middle(const Tensor& input, Middle m, double factor, Tensor& output) {
  if (m.outer * m.inner == 0) return;
  constexpr int64_t kWidth = 256;
  const int64_t width = std::min(m.inner, kWidth);
  const int64_t rows = std::max<int64_t>(1, kElementGrain / width);
  const int64_t blocks = divide_up(m.inner, width);
  const int64_t chunks = std::max<int64_t>(1, divide_up(m.length, rows));
  const int64_t task_size = std::max<int64_t>(1, std::min(rows, m.length) * width);
  std::vector<double> partial(static_cast<size_t>(m.outer * chunks * m.inner));

  with_real_type(input.dtype(), [&]<class T>() {
    const T* x = input.data<T>();
    parallel_ranges(m.outer * chunks * blocks, std::max<int64_t>(1, kElementGrain / task_size),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t task = begin; task < end; ++task) {
                        const int64_t column = task % blocks * width;
                        const int64_t chunk = task / blocks % chunks;
                        const int64_t o = task / blocks / chunks;
                        const int64_t row = chunk * rows;
                        add_rows(x + (o * m.length + row) * m.inner + column,
                                 std::min(rows, m.length - row), m.inner,
                                 std::min(width, m.inner - column),
                                 partial.data() + (o * chunks + chunk) * m.inner + column);
                      }
                    });
  });
  with_real_type(output.dtype(), [&]<class T>() {
    T* y = output.mutable_data<T>();
    parallel_ranges(m.outer, std::max<int64_t>(1, kElementGrain / (chunks * m.inner)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t o = begin; o < end; ++o) {
                        double* total = partial.data() + o * chunks * m.inner;
                        for (int64_t c = 1; c < chunks; ++c)
                          for (int64_t i = 0; i < m.inner; ++i) total[i] += total[c * m.inner + i];
                        for (int64_t i = 0; i < m.inner; ++i)
                          y[o * m.inner + i] = static_cast<T>(factor * total[i]);
                      }
                    });
  });
}

// y = maximum, position = where in the first input it lies. `before` holds the positions of the
// elements of x, undefined where they are their own.
void max_middle(const Tensor& input, const Tensor& before, Middle m, Tensor& output,
                Tensor& position) {
  if (m.outer * m.inner == 0) return;
  with_real_type(input.dtype(), [&]<class T>() {
    const T* x = input.data<T>();
    const int64_t* source = before.defined() ? before.data<int64_t>() : nullptr;
    T* y = output.mutable_data<T>();
    auto* where = position.mutable_data<int64_t>();
    const int64_t slice = m.length * m.inner;
    parallel_ranges(m.outer, std::max<int64_t>(1, kElementGrain / slice),
                    [=](int64_t begin, int64_t end) {
                      for (int64_t o = begin; o < end; ++o) {
                        for (int64_t i = 0; i < m.inner; ++i) {
                          y[o * m.inner + i] = x[o * slice + i];
                          where[o * m.inner + i] = o * slice + i;
                        }
                        for (int64_t r = 1; r < m.length; ++r)
                          for (int64_t i = 0; i < m.inner; ++i) {
                            const T v = x[o * slice + r * m.inner + i];
                            T& best = y[o * m.inner + i];
                            if (!(v > best) && !(std::isnan(v) && !std::isnan(best))) continue;
                            best = v;
                            where[o * m.inner + i] = o * slice + r * m.inner + i;
                          }
                        if (source == nullptr) continue;
                        for (int64_t i = 0; i < m.inner; ++i)
                          where[o * m.inner + i] = source[where[o * m.inner + i]];
                      }
                    });
  });
}

// Writes what arrives at the maxima; the rest of dx is zero already.
void max_scatter(const Tensor& dy, const Tensor& position, Tensor& dx) {
  with_real_type(dy.dtype(), [&]<class T>() {
    const T* g = dy.data<T>();
    const auto* where = position.data<int64_t>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(dy.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[where[i]] = g[i];
    });
  });
}

// Repeats the middle: x [outer, inner] -> y [outer, length, inner].
void repeat_middle(const Tensor& input, Middle m, double factor, Tensor& output) {
  with_real_type(input.dtype(), [&]<class T>() {
    const T* x = input.data<T>();
    T* y = output.mutable_data<T>();
    const T f = static_cast<T>(factor);
    parallel_ranges(m.outer * m.length, std::max<int64_t>(1, kElementGrain / m.inner),
                    [=](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        const T* in = x + row / m.length * m.inner;
                        T* out = y + row * m.inner;
                        for (int64_t i = 0; i < m.inner; ++i) out[i] = f * in[i];
                      }
                    });
  });
}

}  // namespace
}  // namespace cpu

Tensor sum_over(const Tensor& x, const AxisMask& reduced, double factor) {
  // Between groups the sums keep the digits of the type they are added up in.
  const DType between = x.device() == Device::cuda ? DType::f32 : DType::f64;
  Tensor result = x;
  std::vector<Group> groups = groups_of(reduced);
  if (groups.empty()) groups.push_back({0, -1});  // nothing is reduced: rows of length 1, copied
  for (size_t i = 0; i < groups.size(); ++i) {
    const bool last = i + 1 == groups.size();
    Tensor y(shape_after(result.shape(), groups[i]), last ? x.dtype() : between, x.device());
    ON_DEVICE(x, sum_middle, result, middle_of(result.shape(), groups[i]), last ? factor : 1.0, y);
    result = y;
  }
  return result;
}

namespace {

// The axes of `from` along which a tensor of shape `to` is repeated to match it.
AxisMask repeated_axes(const Shape& from, const Shape& to) {
  AxisMask repeated(static_cast<size_t>(from.rank()));
  const int missing = from.rank() - to.rank();
  for (int axis = 0; axis < from.rank(); ++axis)
    repeated[static_cast<size_t>(axis)] =
        axis < missing || (to[axis - missing] == 1 && from[axis] != 1);
  return repeated;
}

}  // namespace

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  return sum_over(x, repeated_axes(x.shape(), shape)).reshape(shape);
}

bool sums_one_group(const Shape& x, const Shape& shape, Middle& middle) {
  const std::vector<Group> groups = groups_of(repeated_axes(x, shape));
  if (groups.size() == 1) middle = middle_of(x, groups[0]);
  return groups.size() == 1;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape, double factor) {
  AxisMask repeated(static_cast<size_t>(shape.rank()));
  for (int axis = 0; axis < shape.rank(); ++axis)
    repeated[static_cast<size_t>(axis)] = x.shape()[axis] != shape[axis];
  Tensor result = x;
  std::vector<Group> groups = groups_of(repeated);
  if (groups.empty()) groups.push_back({0, -1});
  for (const Group group : groups) {
    Shape wide = result.shape();
    for (int axis = group.first; axis <= group.last; ++axis) wide[axis] = shape[axis];
    Tensor y(wide, x.dtype(), x.device());
    if (y.size() > 0) ON_DEVICE(x, repeat_middle, result, middle_of(wide, group), factor, y);
    result = y;
    factor = 1;
  }
  return result;
}

namespace {

const OpInfo& kSum = register_op({.name = "sum",
                                  .formula = "y = sum of x over axes",
                                  .source = "elementary",
                                  .stored = kEveryInput});
const OpInfo& kMean = register_op({.name = "mean",
                                   .formula = "y = sum of x over axes / their size",
                                   .source = "elementary",
                                   .stored = kEveryInput});
const OpInfo& kMax =
    register_op({.name = "max", .formula = "y = maximum of x over axes", .source = "elementary"});

struct ReduceOptions {
  std::vector<int64_t> axes;
  bool keep_axes = false;

  void visit(auto&& v) const {
    v("axes", axes);
    v("keep_axes", keep_axes);
  }
};

// What a reduction of a certain shape amounts to.
struct Plan {
  ReduceOptions options;
  AxisMask reduced;
  Shape kept;    // with 1 for reduced axes
  Shape result;  // as asked for
  int64_t count = 1;

  Plan(const OpInfo& op, const Tensor& x, const std::vector<int>& axes, bool keep_axes) {
    expect_stored(op, x);
    const Shape& shape = x.shape();
    options.keep_axes = keep_axes;
    reduced.assign(static_cast<size_t>(shape.rank()), axes.empty());
    for (const int axis : axes) {
      const int a = shape.axis(axis, op.name);
      check(!reduced[static_cast<size_t>(a)], op.name, ": axis ", axis,
            " is named twice for shape ", shape);
      reduced[static_cast<size_t>(a)] = true;
    }
    kept = shape;
    std::vector<int64_t> rest;
    for (int a = 0; a < shape.rank(); ++a) {
      if (reduced[static_cast<size_t>(a)]) {
        options.axes.push_back(a);
        count *= shape[a];
        kept[a] = 1;
      } else {
        rest.push_back(shape[a]);
      }
    }
    result = keep_axes ? kept : Shape(rest);
  }
};

Variable scaled_sum(const OpInfo& op, const Variable& input, const Plan& plan, double factor) {
  const Tensor& x = input.value();
  const Tensor y = sum_over(x, plan.reduced, factor).reshape(plan.result);
  return record(op, plan.options, y, {input},
                [shape = x.shape(), kept = plan.kept, factor](const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{broadcast_to(dy.reshape(kept), shape, factor)};
                });
}

}  // namespace

Variable sum(const Variable& x, const std::vector<int>& axes, bool keep_axes) {
  return scaled_sum(kSum, x, Plan(kSum, x.value(), axes, keep_axes), 1);
}

Variable mean(const Variable& x, const std::vector<int>& axes, bool keep_axes) {
  const Plan plan(kMean, x.value(), axes, keep_axes);
  check(plan.count > 0, "mean: expected elements, got none over the axes of shape ", x.shape());
  return scaled_sum(kMean, x, plan, 1 / static_cast<double>(plan.count));
}

Variable max(const Variable& input, const std::vector<int>& axes, bool keep_axes) {
  const Tensor& x = input.value();
  expect_real(kMax, x);
  const Plan plan(kMax, x, axes, keep_axes);
  check(plan.count > 0, "max: expected elements, got none over the axes of shape ", x.shape());
  Tensor y = x;
  Tensor position;
  std::vector<Group> groups = groups_of(plan.reduced);
  if (groups.empty()) groups.push_back({0, -1});
  for (const Group group : groups) {
    const Middle middle = middle_of(y.shape(), group);
    Tensor best(shape_after(y.shape(), group), x.dtype(), x.device());
    Tensor where(best.shape(), DType::i64, x.device());
    ON_DEVICE(x, max_middle, y, position, middle, best, where);
    y = best;
    position = where;
  }
  return record(kMax, plan.options, y.reshape(plan.result), {input},
                [shape = x.shape(), position](const Tensor& dy, const Wanted&) {
                  Tensor dx(shape, dy.dtype(), dy.device());
                  dx.fill(0);
                  ON_DEVICE(dy, max_scatter, dy, position, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace decant
