#include "engine/ops/conv_transpose2d.h"

#include "engine/core/on_device.h"
#include "engine/ops/conv2d_passes.h"

namespace decant {
namespace {

const OpInfo& kTransposedConvolution = register_op(
    {.name = "conv_transpose2d",
     .formula = "y[n, i stride + r dilation - top, .., o] += x[n,i,j,c] w[c,r,s,o]; + b[o]",
     .source = "Dumoulin & Visin 2016, section 4",
     .stored = kFirstInput,
     .multiplied = kFirstTwoInputs});

// The convolution whose input gradient this op is: from y, with x in the place of its output.
ConvShape geometry(const Shape& x, const Shape& w, const ConvTranspose2dOptions& o) {
  check(x.rank() == 4 && w.rank() == 4,
        "conv_transpose2d: expected x [N, H, W, Cin] and w [Cin, kH, kW, Cout/groups], got x ", x,
        " and w ", w);
  check(o.stride >= 1 && o.dilation >= 1 && o.groups >= 1,
        "conv_transpose2d: expected positive stride, dilation and groups, got ", o.stride, ", ",
        o.dilation, " and ", o.groups, " for x ", x, " and w ", w);
  check(o.output_padding >= 0 && o.output_padding < o.stride,
        "conv_transpose2d: expected output_padding in [0, stride), got ", o.output_padding,
        " with stride ", o.stride, " for x ", x, " and w ", w);
  const Padding& p = o.padding;
  check(p.top >= 0 && p.bottom >= 0 && p.left >= 0 && p.right >= 0,
        "conv_transpose2d: expected padding that is not negative, got top ", p.top, ", bottom ",
        p.bottom, ", left ", p.left, ", right ", p.right, " for x ", x, " and w ", w);
  check(x.size() > 0 && w.size() > 0,
        "conv_transpose2d: expected tensors that are not empty, got x ", x, " and w ", w);
  check(w[0] == x[3] && x[3] % o.groups == 0, "conv_transpose2d: channels do not agree in ",
        o.groups, " groups, x ", x, " and w ", w);
  const int64_t height =
      (x[1] - 1) * o.stride - p.top - p.bottom + o.dilation * (w[1] - 1) + o.output_padding + 1;
  const int64_t width =
      (x[2] - 1) * o.stride - p.left - p.right + o.dilation * (w[2] - 1) + o.output_padding + 1;
  check(height >= 1 && width >= 1, "conv_transpose2d: nothing is left inside of the padding, x ", x,
        " and w ", w);
  return {.n = x[0],
          .h = height,
          .w = width,
          .c_in = w[3] * o.groups,
          .ho = x[1],
          .wo = x[2],
          .c_out = x[3],
          .kh = w[1],
          .kw = w[2],
          .stride = o.stride,
          .dilation = o.dilation,
          .groups = o.groups,
          .top = p.top,
          .left = p.left};
}

}  // namespace

Variable conv_transpose2d(const Variable& x, const Variable& w, const Variable& b,
                          const ConvTranspose2dOptions& options) {
  const ConvShape s = geometry(x.shape(), w.shape(), options);
  check_conv_operands("conv_transpose2d", x.value(), w.value(), b.value(), s.c_in);

  Tensor y({s.n, s.h, s.w, s.c_in}, x.dtype(), x.value().device());
  ON_DEVICE(y, conv2d_input_gradient, s, x.value(), w.value(), b.value(), y);
  return record(
      kTransposedConvolution, options, y, {x, w, b},
      // Only what a wanted gradient reads is kept.
      [s, xs = x.shape(), ws = w.shape(), x = w.requires_grad() ? Saved(x) : Saved(),
       w = x.requires_grad() ? Saved(w) : Saved()](const Tensor& dy, const Wanted& wanted) {
        Tensor dx;
        Tensor dw;
        Tensor db;
        // Those first that have dy in memory, from where dx reads it then.
        if (wanted[2]) {
          db = wanted.place(2, {s.c_in}, parameter_type(dy.dtype()), dy.device());
          ON_DEVICE(dy, conv2d_bias_gradient, dy, db);
        }
        if (wanted[1]) {
          dw = wanted.place(1, ws, parameter_type(dy.dtype()), dy.device());
          ON_DEVICE(dy, conv2d_weight_gradient, s, dy, x.get(), dw);
        }
        if (wanted[0]) {
          dx = Tensor(xs, dy.dtype(), dy.device());
          ON_DEVICE(dy, conv2d_forward, s, dy, w.get(), Tensor{}, dx);
        }
        return std::vector<Tensor>{dx, dw, db};
      });
}

}  // namespace decant
