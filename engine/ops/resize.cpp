#include "engine/ops/resize.h"

#include "engine/core/on_device.h"
#include "engine/ops/axis_taps.h"
#include "engine/ops/expect.h"

namespace decant {
namespace {

const OpInfo& kResize = register_op({.name = "resize",
                                     .formula = "y = x sampled at positions of another grid",
                                     .source = "PyTorch's interpolate",
                                     .stored = kEveryInput});
const OpInfo& kUpsampleConcat = register_op({.name = "upsample_concat",
                                             .formula = "y = [resize(x), skip]",
                                             .source = "Ronneberger et al. 2015",
                                             .stored = kEveryInput});

struct SizedResizeOptions {
  int64_t h, w;
  ResizeOptions options;
  void visit(auto&& v) const {
    v("h", h);
    v("w", w);
    options.visit(v);
  }
};

AxisTaps resize_taps(int64_t inputs, int64_t outputs, const ResizeOptions& options) {
  return options.mode == Interpolation::nearest
             ? nearest_taps(inputs, outputs)
             : bilinear_taps(inputs, outputs, options.align_corners);
}

}  // namespace

Variable resize(const Variable& input, int64_t h, int64_t w, const ResizeOptions& options) {
  const Tensor& x = input.value();
  expect_image(kResize, x);
  check(h >= 1 && w >= 1, "resize: expected a size of at least 1 x 1, got ", h, " x ", w, " for x ",
        x.shape());
  check(!options.align_corners || options.mode == Interpolation::bilinear,
        "resize: expected bilinear for align_corners, got ", name_of(options.mode));
  const Shape& s = x.shape();
  const AxisTaps rows = resize_taps(s[1], h, options);
  const AxisTaps columns = resize_taps(s[2], w, options);
  Tensor y({s[0], h, w, s[3]}, x.dtype(), x.device());
  ON_DEVICE(x, apply_taps, rows, columns, x, y, {.channels = s[3]});
  return record(kResize, SizedResizeOptions{h, w, options}, y, {input},
                [rows, columns, s](const Tensor& dy, const Wanted&) {
                  Tensor dx(s, dy.dtype(), dy.device());
                  ON_DEVICE(dy, apply_taps, rows.transposed(), columns.transposed(), dy, dx,
                            {.channels = s[3]});
                  return std::vector<Tensor>{dx};
                });
}

Variable upsample_concat(const Variable& input, const Variable& skip) {
  const Tensor& x = input.value();
  expect_image(kUpsampleConcat, x);
  const Shape& s = x.shape();
  Shape shape = {s[0], 2 * s[1], 2 * s[2], s[3]};
  if (skip.defined()) {
    expect_image(kUpsampleConcat, skip.value());
    expect_same_type(kUpsampleConcat, x, skip.value());
    check(skip.shape()[0] == s[0], "upsample_concat: batches differ, x ", s, " and skip ",
          skip.shape());
    shape = skip.shape();
    shape[3] += s[3];
  }
  const int64_t c = s[3];
  const int64_t skip_c = shape[3] - c;
  const AxisTaps rows = nearest_taps(s[1], shape[1]);
  const AxisTaps columns = nearest_taps(s[2], shape[2]);
  const AxisTaps same_rows = nearest_taps(shape[1], shape[1]);
  const AxisTaps same_columns = nearest_taps(shape[2], shape[2]);

  const auto side_by_side = [=](const Tensor& low, const Tensor& beside) {
    Tensor y(shape, low.dtype(), low.device());
    ON_DEVICE(y, apply_taps, rows, columns, low, y, {.channels = c});
    if (skip_c > 0)
      ON_DEVICE(y, apply_taps, same_rows, same_columns, beside, y,
                {.y_channel = c, .channels = skip_c});
    return y;
  };
  const Variable y = record(kUpsampleConcat, side_by_side(x, skip.value()), {input, skip},
                            [=, skip_shape = skip.shape()](const Tensor& dy, const Wanted& wanted) {
                              std::vector<Tensor> grads(2);
                              if (wanted[0]) {
                                grads[0] = Tensor(s, dy.dtype(), dy.device());
                                ON_DEVICE(dy, apply_taps, rows.transposed(), columns.transposed(),
                                          dy, grads[0], {.channels = c});
                              }
                              if (wanted[1]) {
                                grads[1] = Tensor(skip_shape, dy.dtype(), dy.device());
                                ON_DEVICE(dy, apply_taps, same_rows, same_columns, dy, grads[1],
                                          {.x_channel = c, .channels = skip_c});
                              }
                              return grads;
                            });
  // The largest values of a U-Net, and the cheapest to make again.
  if (!y.requires_grad() || x.device() != Device::cpu) return y;
  return y.with_recipe([side_by_side, input = Saved(input), skip = Saved(skip)] {
    return side_by_side(input.get(), skip.defined() ? skip.get() : Tensor{});
  });
}

}  // namespace decant
