#include "engine/ops/resize.h"

#include <algorithm>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/cpu/source.h"
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

bool on_vectors(const Tensor& t) {
  return t.device() == Device::cpu && t.dtype() == DType::f32;
}

// [low, enlarged to the skip's size, beside it] on the CPU, in float32: a promise. A pixel of y is
// one of `low` and one of the skip.
Tensor joined(const Tensor& low, const AxisTaps& columns, const Tensor& skip) {
  const Shape& x = low.shape();
  Shape shape = skip.shape();
  const int64_t c = x[3];
  const int64_t skip_c = shape[3];
  shape[3] += c;
  return Tensor::promised(
      shape, [low = cpu::TensorSource(low, false), skip = cpu::TensorSource(skip, false), x, c,
              skip_c, columns, h = shape[1], w = shape[2]](int64_t begin, int64_t end, float* y) {
        const float* const low_pixels = low.get().data();
        const float* const skip_pixels = skip.get().data();
        for (int64_t pixel = begin; pixel < end;) {
          const int64_t row = pixel / w;  // counted through all images
          const int64_t column = pixel % w;
          const int64_t count = std::min(end - pixel, w - column);
          const int64_t low_row = row / h * x[1] + row % h * x[1] / h;
          cpu::kernels().join({.pixels = count,
                               .columns = columns.index.data() + column,
                               .x = low_pixels + low_row * x[2] * c,
                               .x_channels = c,
                               .skip = skip_pixels + pixel * skip_c,
                               .skip_channels = skip_c,
                               .y = y + (pixel - begin) * (c + skip_c)});
          pixel += count;
        }
      });
}

// The gradients of what is joined, from one visit to dy: `rows` leads from a row of dlow to those
// of dy. Either may be undefined.
void split(const Tensor& dy, const AxisTaps& rows, const AxisTaps& columns, Tensor& dlow,
           Tensor& dskip) {
  const Shape& s = dy.shape();
  const int64_t low_h = rows.outputs();
  const int64_t low_row = columns.inputs * (dlow.defined() ? dlow.shape()[3] : 0);
  const int64_t skip_c = dskip.defined() ? dskip.shape()[3] : s[3] - dlow.shape()[3];
  const int64_t c = s[3] - skip_c;
  const auto* from = dy.data<float>();
  float* const to_low = dlow.defined() ? dlow.mutable_data<float>() : nullptr;
  float* const to_skip = dskip.defined() ? dskip.mutable_data<float>() : nullptr;
  const int64_t grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, s[2] * s[3]));
  parallel_ranges(s[0] * low_h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t low = begin; low < end; ++low) {
      float* const dx = to_low == nullptr ? nullptr : to_low + low * low_row;
      if (dx != nullptr) std::fill_n(dx, low_row, 0.0F);
      const auto row = static_cast<size_t>(low % low_h);
      for (int64_t k = rows.first[row]; k < rows.first[row + 1]; ++k) {
        const int64_t y_row = low / low_h * s[1] + rows.index[static_cast<size_t>(k)];
        const int64_t pixel = y_row * s[2];
        cpu::kernels().split({.pixels = s[2],
                              .columns = columns.index.data(),
                              .dy = from + pixel * s[3],
                              .x_channels = c,
                              .dx = dx,
                              .skip_channels = skip_c,
                              .dskip = to_skip == nullptr ? nullptr : to_skip + pixel * skip_c});
      }
    }
  });
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
    if (skip_c > 0 && on_vectors(low)) return joined(low, columns, beside);
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
                              if (wanted[0]) grads[0] = Tensor(s, dy.dtype(), dy.device());
                              if (wanted[1]) grads[1] = Tensor(skip_shape, dy.dtype(), dy.device());
                              if (on_vectors(dy)) {
                                split(dy, rows.transposed(), columns, grads[0], grads[1]);
                                return grads;
                              }
                              if (wanted[0])
                                ON_DEVICE(dy, apply_taps, rows.transposed(), columns.transposed(),
                                          dy, grads[0], {.channels = c});
                              if (wanted[1])
                                ON_DEVICE(dy, apply_taps, same_rows, same_columns, dy, grads[1],
                                          {.x_channel = c, .channels = skip_c});
                              return grads;
                            });
  // The largest values of a U-Net, and the cheapest to make again.
  if (!y.requires_grad() || x.device() != Device::cpu) return y;
  return y.with_recipe([side_by_side, input = Saved(input), skip = Saved(skip)] {
    return side_by_side(input.get(), skip.defined() ? skip.get() : Tensor{});
  });
}

}  // namespace decant
