#include "engine/ops/shape_ops.h"

#include <algorithm>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/axis_options.h"
#include "engine/ops/expect.h"
#include "engine/ops/optimizer.h"
#include "engine/ops/shape_kernels.h"

namespace decant {
namespace cpu {
namespace {

void copy_rows(const Tensor& from, int64_t from_offset, int64_t from_stride, Tensor& to,
               int64_t to_offset, int64_t to_stride, int64_t rows, int64_t width) {
  if (rows * width == 0) return;
  with_real_type(from.dtype(), [&]<class T>() {
    const T* in = from.data<T>() + from_offset;
    T* out = to.mutable_data<T>() + to_offset;
    parallel_ranges(rows, std::max<int64_t>(1, kElementGrain / width),
                    [=](int64_t begin, int64_t end) {
                      for (int64_t r = begin; r < end; ++r)
                        std::copy_n(in + r * from_stride, width, out + r * to_stride);
                    });
  });
}

void copy_box(const Tensor& from, int64_t from_corner, const std::vector<int64_t>& from_strides,
              Tensor& to, int64_t to_corner, const std::vector<int64_t>& to_strides,
              const Shape& extents) {
  if (extents.size() == 0) return;
  const int rank = extents.rank();
  const int64_t width = rank == 0 ? 1 : extents[-1];
  const int64_t step = rank == 0 ? 1 : from_strides.back();
  with_real_type(from.dtype(), [&]<class T>() {
    const T* in = from.data<T>() + from_corner;
    T* out = to.mutable_data<T>() + to_corner;
    parallel_ranges(extents.size() / width, std::max<int64_t>(1, kElementGrain / width),
                    [&, in, out](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        const T* p = in;
                        T* q = out;
                        int64_t rest = row;
                        for (int axis = rank - 2; axis >= 0; --axis) {
                          const int64_t at = rest % extents[axis];
                          rest /= extents[axis];
                          p += at * from_strides[static_cast<size_t>(axis)];
                          q += at * to_strides[static_cast<size_t>(axis)];
                        }
                        if (step == 1)
                          std::copy_n(p, width, q);
                        else
                          for (int64_t i = 0; i < width; ++i) q[i] = p[i * step];
                      }
                    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kConcat = register_op({.name = "concat",
                                     .formula = "y = [x1, x2, ..]",
                                     .source = "elementary",
                                     .stored = kEveryInput});
const OpInfo& kSlice = register_op({.name = "slice",
                                    .formula = "y = x[begin:end]",
                                    .source = "elementary",
                                    .stored = kEveryInput});
const OpInfo& kPad = register_op({.name = "pad",
                                  .formula = "y = x surrounded by value",
                                  .source = "elementary",
                                  .stored = kEveryInput});
const OpInfo& kReshape = register_op({.name = "reshape",
                                      .formula = "y = x under another shape",
                                      .source = "elementary",
                                      .stored = kEveryInput});
const OpInfo& kPermute = register_op({.name = "permute",
                                      .formula = "y[i_order] = x[i]",
                                      .source = "elementary",
                                      .stored = kEveryInput});

struct SliceOptions {
  int64_t axis, begin, end;
  void visit(auto&& v) const {
    v("axis", axis);
    v("begin", begin);
    v("end", end);
  }
};

struct PadOptions {
  std::vector<int64_t> before, after;
  double value;
  void visit(auto&& v) const {
    v("before", before);
    v("after", after);
    v("value", value);
  }
};

struct ShapeOptions {
  Shape shape;
  void visit(auto&& v) const {
    v("shape", std::vector<int64_t>(shape.extents().begin(), shape.extents().end()));
  }
};

struct OrderOptions {
  std::vector<int64_t> order;
  void visit(auto&& v) const { v("order", order); }
};

// The number of elements in axes [first, last) of a shape.
int64_t extent_of(const Shape& shape, int first, int last) {
  int64_t product = 1;
  for (int axis = first; axis < last; ++axis) product *= shape[axis];
  return product;
}

std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()), 1);
  for (size_t i = strides.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[static_cast<int>(i)];
  return strides;
}

}  // namespace

Variable concat(const std::vector<Variable>& xs, int axis) {
  check(!xs.empty(), "concat: expected at least one tensor, got none");
  const Shape& first = xs[0].shape();
  expect_stored(kConcat, xs[0].value());
  const int a = first.axis(axis, "concat");
  Shape shape = first;
  for (size_t i = 1; i < xs.size(); ++i) {
    expect_same_type(kConcat, xs[0].value(), xs[i].value());
    Shape like = xs[i].shape();
    if (like.rank() == first.rank()) like[a] = first[a];
    check(like == first, "concat: shapes differ elsewhere than in axis ", a, ", ", first, " and ",
          xs[i].shape());
    shape[a] += xs[i].shape()[a];
  }

  const int64_t outer = extent_of(shape, 0, a);
  const int64_t inner = extent_of(shape, a + 1, shape.rank());
  const int64_t row = shape[a] * inner;
  std::vector<int64_t> widths;
  for (const Variable& x : xs) widths.push_back(x.shape()[a] * inner);

  Tensor y(shape, xs[0].dtype(), xs[0].value().device());
  int64_t offset = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    ON_DEVICE(y, copy_rows, xs[i].value(), 0, widths[i], y, offset, row, outer, widths[i]);
    offset += widths[i];
  }

  std::vector<Shape> shapes;
  for (const Variable& x : xs) shapes.push_back(x.shape());
  return record(kConcat, AxisOptions{a}, y, xs,
                [shapes, widths, outer, row](const Tensor& dy, const Wanted& wanted) {
                  std::vector<Tensor> grads(shapes.size());
                  int64_t start = 0;
                  for (size_t i = 0; i < shapes.size(); ++i) {
                    if (wanted[i]) {
                      grads[i] = Tensor(shapes[i], dy.dtype(), dy.device());
                      ON_DEVICE(dy, copy_rows, dy, start, row, grads[i], 0, widths[i], outer,
                                widths[i]);
                    }
                    start += widths[i];
                  }
                  return grads;
                });
}

Variable slice(const Variable& input, int axis, int64_t begin, int64_t end) {
  const Tensor& x = input.value();
  expect_stored(kSlice, x);
  const int a = x.shape().axis(axis, "slice");
  const int64_t length = x.shape()[a];
  const int64_t from = begin < 0 ? begin + length : begin;
  const int64_t to = end < 0 ? end + length : end;
  check(0 <= from && from < to && to <= length, "slice: expected 0 <= begin < end <= ", length,
        ", got ", begin, " and ", end, " for axis ", a, " of shape ", x.shape());

  Shape shape = x.shape();
  shape[a] = to - from;
  const int64_t outer = extent_of(shape, 0, a);
  const int64_t inner = extent_of(shape, a + 1, shape.rank());
  Tensor y(shape, x.dtype(), x.device());
  ON_DEVICE(x, copy_rows, x, from * inner, length * inner, y, 0, (to - from) * inner, outer,
            (to - from) * inner);
  return record(
      kSlice, SliceOptions{a, from, to}, y, {input},
      [whole = x.shape(), from, to, length, outer, inner](const Tensor& dy, const Wanted&) {
        Tensor dx(whole, dy.dtype(), dy.device());
        dx.fill(0);
        ON_DEVICE(dy, copy_rows, dy, 0, (to - from) * inner, dx, from * inner, length * inner,
                  outer, (to - from) * inner);
        return std::vector<Tensor>{dx};
      });
}

Variable pad(const Variable& input, const std::vector<std::pair<int64_t, int64_t>>& amounts,
             double value) {
  const Tensor& x = input.value();
  expect_stored(kPad, x);
  check(static_cast<int>(amounts.size()) == x.shape().rank(),
        "pad: expected one {before, after} per axis of shape ", x.shape(), ", got ",
        amounts.size());
  PadOptions options = {{}, {}, value};
  Shape shape = x.shape();
  for (size_t i = 0; i < amounts.size(); ++i) {
    const auto [before, after] = amounts[i];
    check(before >= 0 && after >= 0, "pad: expected no negative amounts, got {", before, ", ",
          after, "} for axis ", i, " of shape ", x.shape());
    options.before.push_back(before);
    options.after.push_back(after);
    shape[static_cast<int>(i)] += before + after;
  }

  const std::vector<int64_t> strides = strides_of(shape);
  int64_t corner = 0;
  for (size_t i = 0; i < strides.size(); ++i) corner += options.before[i] * strides[i];
  Tensor y(shape, x.dtype(), x.device());
  y.fill(value);
  ON_DEVICE(x, copy_box, x, 0, strides_of(x.shape()), y, corner, strides, x.shape());
  return record(kPad, options, y, {input},
                [whole = x.shape(), strides, corner](const Tensor& dy, const Wanted&) {
                  Tensor dx(whole, dy.dtype(), dy.device());
                  ON_DEVICE(dy, copy_box, dy, corner, strides, dx, 0, strides_of(whole), whole);
                  return std::vector<Tensor>{dx};
                });
}

Variable pad2d(const Variable& x, int64_t top, int64_t bottom, int64_t left, int64_t right,
               double value) {
  expect_image(kPad, x.value());
  return pad(x, {{0, 0}, {top, bottom}, {left, right}, {0, 0}}, value);
}

Variable reshape(const Variable& x, const Shape& shape) {
  check(x.defined() && x.shape().size() == shape.size(), "reshape: sizes differ, from ", x.shape(),
        " to ", shape);
  return record(kReshape, ShapeOptions{shape}, x.value().reshape(shape), {x},
                [before = x.shape()](const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{dy.reshape(before)};
                });
}

namespace {

Tensor permuted(const Tensor& x, const std::vector<int>& order) {
  const std::vector<int64_t> all_strides = strides_of(x.shape());
  std::vector<int64_t> extents;
  std::vector<int64_t> strides;
  for (const int axis : order) {
    extents.push_back(x.shape()[axis]);
    strides.push_back(all_strides[static_cast<size_t>(axis)]);
  }
  const Shape shape(extents);
  Tensor y(shape, x.dtype(), x.device());
  ON_DEVICE(x, copy_box, x, 0, strides, y, 0, strides_of(shape), shape);
  return y;
}

}  // namespace

Variable permute(const Variable& x, const std::vector<int>& order) {
  expect_stored(kPermute, x.value());
  const Shape& shape = x.shape();
  check(static_cast<int>(order.size()) == shape.rank(), "permute: expected ", shape.rank(),
        " axes for shape ", shape, ", got ", order.size());
  std::vector<int> axes;
  std::vector<int> inverse(order.size(), -1);
  for (size_t i = 0; i < order.size(); ++i) {
    const int axis = shape.axis(order[i], "permute");
    check(inverse[static_cast<size_t>(axis)] < 0, "permute: axis ", order[i],
          " is named twice for shape ", shape);
    inverse[static_cast<size_t>(axis)] = static_cast<int>(i);
    axes.push_back(axis);
  }
  return record(kPermute, OrderOptions{{axes.begin(), axes.end()}}, permuted(x.value(), axes), {x},
                [inverse](const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{permuted(dy, inverse)};
                });
}

}  // namespace decant
