#include "engine/ops/arithmetic.h"

#include <algorithm>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/arithmetic_kernels.h"
#include "engine/ops/expect.h"
#include "engine/ops/reduce_kernels.h"

namespace decant {
namespace {

using pairwise::Add;
using pairwise::Divide;
using pairwise::Multiply;
using pairwise::Subtract;

Shape broadcast_shape(const OpInfo& op, const Tensor& a, const Tensor& b) {
  expect_same_type(op, a, b);
  const Shape& longer = a.shape().rank() >= b.shape().rank() ? a.shape() : b.shape();
  const Shape& shorter = a.shape().rank() >= b.shape().rank() ? b.shape() : a.shape();
  Shape y = longer;
  for (int i = 1; i <= shorter.rank(); ++i) {
    check(longer[-i] == shorter[-i] || longer[-i] == 1 || shorter[-i] == 1, op.name,
          ": shapes do not broadcast, a ", a.shape(), " and b ", b.shape());
    if (y[-i] == 1) y[-i] = shorter[-i];
  }
  return y;
}

// How a and b are walked through while the result, of shape y, is written in order.
PairWalk walk_of(const Shape& y, const Shape& a, const Shape& b) {
  PairWalk walk;
  int64_t stride_a = 1;
  int64_t stride_b = 1;
  for (int i = 1; i <= y.rank(); ++i) {
    const int64_t extent_a = i <= a.rank() ? a[-i] : 1;
    const int64_t extent_b = i <= b.rank() ? b[-i] : 1;
    walk.add({y[-i], extent_a == 1 ? 0 : stride_a, extent_b == 1 ? 0 : stride_b});
    stride_a *= extent_a;
    stride_b *= extent_b;
  }
  return walk;
}

}  // namespace

namespace cpu {
namespace {

// y = f(a, b), broadcast.
template <class F>
void map_pair(const Tensor& a, const Tensor& b, const PairWalk& walk, Tensor& y) {
  with_real_type(y.dtype(), [&]<class T>() {
    const T* first = a.data<T>();
    const T* second = b.data<T>();
    T* out = y.mutable_data<T>();
    const auto [length, step_a, step_b] = walk.inner();
    parallel_ranges(y.size(), kElementGrain, [&, out](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const auto [at_a, at_b] = walk.at(i);
        const int64_t count = std::min(length - i % length, end - i);
        const T* p = first + at_a;
        const T* q = second + at_b;
        T* to = out + i;
        if (step_a == 1 && step_b == 1)
          for (int64_t k = 0; k < count; ++k) to[k] = F::f(p[k], q[k]);
        else if (step_a == 1)
          for (int64_t k = 0; k < count; ++k) to[k] = F::f(p[k], *q);
        else if (step_b == 1)
          for (int64_t k = 0; k < count; ++k) to[k] = F::f(*p, q[k]);
        else
          to[0] = F::f(*p, *q);
        i += count;
      }
    });
  });
}

// y = factor x + c
void scale_add(const Tensor& x, double factor, double c, Tensor& y) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const T f = static_cast<T>(factor);
    const T shift = static_cast<T>(c);
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = f * in[i] + shift;
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kAdd = register_op(
    {.name = "add", .formula = "y = a + b", .source = "elementary", .stored = kEveryInput});
const OpInfo& kSub = register_op(
    {.name = "sub", .formula = "y = a - b", .source = "elementary", .stored = kEveryInput});
const OpInfo& kMul = register_op(
    {.name = "mul", .formula = "y = a b", .source = "elementary", .stored = kEveryInput});
const OpInfo& kDiv = register_op(
    {.name = "div", .formula = "y = a / b", .source = "elementary", .stored = kEveryInput});
const OpInfo& kScale = register_op(
    {.name = "scale", .formula = "y = factor x", .source = "elementary", .stored = kEveryInput});
const OpInfo& kAddScalar = register_op(
    {.name = "add_scalar", .formula = "y = x + c", .source = "elementary", .stored = kEveryInput});

template <class F>
Tensor pair(const Tensor& a, const Tensor& b, const Shape& shape) {
  Tensor y(shape, a.dtype(), a.device());
  ON_DEVICE(a, map_pair<F>, a, b, walk_of(shape, a.shape(), b.shape()), y);
  return y;
}

// sum_to(a b, shape), of which cuda makes one pass where it can.
Tensor sum_of_products(const Tensor& a, const Tensor& b, const Shape& shape) {
  if constexpr (kWithCuda) {
    Middle middle = {};
    if (a.device() == Device::cuda && a.shape() == b.shape() &&
        sums_one_group(a.shape(), shape, middle)) {
      Tensor y(shape, a.dtype(), a.device());
      cuda::product_sum_middle(a, b, middle, y);
      return y;
    }
  }
  return sum_to(pair<Multiply>(a, b, a.shape()), shape);
}

Tensor scaled(const Tensor& x, double factor, double c) {
  Tensor y(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, scale_add, x, factor, c, y);
  return y;
}

}  // namespace

Variable add(const Variable& a, const Variable& b) {
  const Shape shape = broadcast_shape(kAdd, a.value(), b.value());
  const Tensor y = pair<Add>(a.value(), b.value(), shape);
  return record(kAdd, y, {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, const Wanted& wanted) {
                  return std::vector<Tensor>{wanted[0] ? sum_to(dy, sa) : Tensor(),
                                             wanted[1] ? sum_to(dy, sb) : Tensor()};
                });
}

Variable sub(const Variable& a, const Variable& b) {
  const Shape shape = broadcast_shape(kSub, a.value(), b.value());
  const Tensor y = pair<Subtract>(a.value(), b.value(), shape);
  return record(kSub, y, {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, const Wanted& wanted) {
                  return std::vector<Tensor>{wanted[0] ? sum_to(dy, sa) : Tensor(),
                                             wanted[1] ? scaled(sum_to(dy, sb), -1, 0) : Tensor()};
                });
}

Variable mul(const Variable& a, const Variable& b) {
  const Shape shape = broadcast_shape(kMul, a.value(), b.value());
  const Tensor y = pair<Multiply>(a.value(), b.value(), shape);
  // Each side is kept for the other's gradient only.
  return record(
      kMul, y, {a, b},
      [shape_a = a.shape(), shape_b = b.shape(), a = b.requires_grad() ? Saved(a) : Saved(),
       b = a.requires_grad() ? Saved(b) : Saved()](const Tensor& dy, const Wanted& wanted) {
        return std::vector<Tensor>{wanted[0] ? sum_of_products(dy, b.get(), shape_a) : Tensor(),
                                   wanted[1] ? sum_of_products(dy, a.get(), shape_b) : Tensor()};
      });
}

Variable div(const Variable& a, const Variable& b) {
  const Shape shape = broadcast_shape(kDiv, a.value(), b.value());
  const Tensor y = pair<Divide>(a.value(), b.value(), shape);
  return record(
      kDiv, y, {a, b},
      [sa = a.shape(), sb = b.shape(), b = Saved(b), y = b.requires_grad() ? Saved(y) : Saved()](
          const Tensor& dy, const Wanted& wanted) {
        const Tensor da = pair<Divide>(dy, b.get(), dy.shape());  // before the sum
        std::vector<Tensor> grads(2);
        if (wanted[0]) grads[0] = sum_to(da, sa);
        if (wanted[1]) {
          const Tensor db = pair<Multiply>(da, y.get(), dy.shape());
          grads[1] = scaled(sum_to(db, sb), -1, 0);
        }
        return grads;
      });
}

namespace {

struct ScaleOptions {
  double factor;
  void visit(auto&& v) const { v("factor", factor); }
};

struct AddScalarOptions {
  double c;
  void visit(auto&& v) const { v("c", c); }
};

}  // namespace

Variable scale(const Variable& x, double factor) {
  expect_stored(kScale, x.value());
  return record(kScale, ScaleOptions{factor}, scaled(x.value(), factor, 0), {x},
                [factor](const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{scaled(dy, factor, 0)};
                });
}

Variable add_scalar(const Variable& x, double c) {
  expect_stored(kAddScalar, x.value());
  return record(kAddScalar, AddScalarOptions{c}, scaled(x.value(), 1, c), {x},
                [](const Tensor& dy, const Wanted&) { return std::vector<Tensor>{dy}; });
}

}  // namespace decant
