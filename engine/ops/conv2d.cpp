#include "engine/ops/conv2d.h"

#include <memory>

#include "engine/autograd/profile.h"
#include "engine/core/on_device.h"
#include "engine/cpu/column_sums.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/packed_product.h"
#include "engine/cpu/source.h"
#include "engine/ops/conv2d_passes.h"
#include "engine/ops/conv2d_reference.h"
#include "engine/ops/expect.h"

namespace decant {
namespace cpu {
namespace {

void note(const ConvShape& s, ConvPass pass, const Tensor& t) {
  Profile::note(t.dtype() == DType::f32 ? name_of(algorithm_of(s, pass)) : "reference",
                multiply_adds(s));
}

}  // namespace

void conv2d_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    Tensor& y) {
  note(s, ConvPass::forward, x);
  if (x.dtype() == DType::f32)
    conv2d_forward(s, TensorSource(x, reads_lines(s)).get(), w.data<float>(),
                   data_or_null<float>(bias), y.mutable_data<float>());
  else
    reference::conv2d_forward(s, x.data<double>(), w.data<double>(), data_or_null<double>(bias),
                              y.mutable_data<double>());
}

void conv2d_input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w,
                           const Tensor& bias, Tensor& dx) {
  note(s, ConvPass::input_gradient, dy);
  if (dy.dtype() == DType::f32)
    conv2d_input_gradient(s, dy.data<float>(), w.data<float>(), data_or_null<float>(bias),
                          dx.mutable_data<float>());
  else
    reference::conv2d_input_gradient(s, dy.data<double>(), w.data<double>(),
                                     data_or_null<double>(bias), dx.mutable_data<double>());
}

void conv2d_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  note(s, ConvPass::weight_gradient, x);
  if (x.dtype() == DType::f32)
    conv2d_weight_gradient(s, x.data<float>(), dy.data<float>(), dw.mutable_data<float>());
  else
    reference::conv2d_weight_gradient(s, x.data<double>(), dy.data<double>(),
                                      dw.mutable_data<double>());
}

void conv2d_gradients(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& w,
                      Tensor& dx, Tensor& dw) {
  if (dy.dtype() == DType::f32 && dw.defined() && gradients_in_one_pass(s)) {
    Profile::note(name_of_one_pass(s), (dx.defined() ? 2 : 1) * multiply_adds(s));
    const bool once = gradients_read_once(s);
    conv2d_gradients(s, TensorSource(x, once).get(), TensorSource(dy, once).get(),
                     data_or_null<float>(w), mutable_data_or_null<float>(dx),
                     dw.mutable_data<float>());
    return;
  }
  if (dx.defined()) conv2d_input_gradient(s, dy, w, Tensor{}, dx);
  if (dw.defined()) conv2d_weight_gradient(s, x, dy, dw);
}

namespace {

// x [.., depth] b for images whose pixels are multiplied by themselves: where `depth` is small,
// making a pixel costs less than bringing it from memory, and the product is promised.
bool is_promised(const ConvShape& s, const Tensor& x, int64_t depth, int64_t columns) {
  return x.device() == Device::cpu && x.dtype() == DType::f32 && is_pointwise(s) && depth <= 8 &&
         4 * depth <= columns;
}

Tensor promised_product(const Tensor& x, const PackedProduct::Matrix& b) {
  Profile::note("promised", 0);
  Shape shape = x.shape();
  shape[-1] = b.columns;
  const auto product = std::make_shared<const PackedProduct>(b);
  return Tensor::promised(
      shape,
      [x = TensorSource(x), product, depth = b.depth](int64_t begin, int64_t end, float* y) {
        const Source source = x.get();
        Scratch made(source.data() == nullptr ? (end - begin) * depth : 0);
        product->run(end - begin, source.pixels(begin, end, depth, made.data()),
                     PointwiseKind::none, nullptr, y);
      },
      1 + x.promise_depth());
}

}  // namespace

void conv2d_bias_gradient(const Tensor& dy, Tensor& db) {
  with_real_type(dy.dtype(), [&]<class T>() {
    const int64_t channels = dy.shape()[-1];
    column_sums(dy.data<T>(), dy.size() / channels, channels, db.mutable_data<T>());
  });
}

}  // namespace cpu

void check_conv_operands(const char* op, const Tensor& x, const Tensor& w, const Tensor& b,
                         int64_t channels) {
  check(is_stored(x) && w.dtype() == parameter_type(x.dtype()) &&
            (!b.defined() || b.dtype() == w.dtype()),
        op, ": expected one real type, or bfloat16 x on cuda and float32 w, got x ", x.dtype(),
        b.defined() ? ", w " : " and w ", w.dtype(), b.defined() ? str(" and b ", b.dtype()) : "");
  check(!b.defined() || b.shape() == Shape({channels}), op, ": expected b [", channels, "] for w ",
        w.shape(), ", got b ", b.defined() ? b.shape() : Shape());
}

namespace {

const OpInfo& kConvolution = register_op(
    {.name = "conv2d",
     .formula = "y[n,i,j,o] = b[o] + sum x[n, i stride + r dilation - top, ..] w[o,r,s,c]",
     .source = "Dumoulin & Visin 2016",
     .stored = kFirstInput,
     .multiplied = kFirstTwoInputs});

ConvShape geometry(const Shape& x, const Shape& w, const Conv2dOptions& o) {
  check(x.rank() == 4 && w.rank() == 4,
        "conv2d: expected x [N, H, W, Cin] and w [Cout, kH, kW, Cin/groups], got x ", x, " and w ",
        w);
  check(o.stride >= 1 && o.dilation >= 1 && o.groups >= 1,
        "conv2d: expected positive stride, dilation and groups, got ", o.stride, ", ", o.dilation,
        " and ", o.groups, " for x ", x, " and w ", w);
  const Padding& p = o.padding;
  check(p.top >= 0 && p.bottom >= 0 && p.left >= 0 && p.right >= 0,
        "conv2d: expected padding that is not negative, got top ", p.top, ", bottom ", p.bottom,
        ", left ", p.left, ", right ", p.right, " for x ", x, " and w ", w);
  check(x.size() > 0 && w.size() > 0, "conv2d: expected tensors that are not empty, got x ", x,
        " and w ", w);
  check(w[0] % o.groups == 0 && w[3] * o.groups == x[3], "conv2d: channels do not agree in ",
        o.groups, " groups, x ", x, " and w ", w);
  const int64_t height = x[1] + p.top + p.bottom - o.dilation * (w[1] - 1) - 1;
  const int64_t width = x[2] + p.left + p.right - o.dilation * (w[2] - 1) - 1;
  check(height >= 0 && width >= 0, "conv2d: the kernel is larger than the padded image, x ", x,
        " and w ", w);
  return {.n = x[0],
          .h = x[1],
          .w = x[2],
          .c_in = x[3],
          .ho = height / o.stride + 1,
          .wo = width / o.stride + 1,
          .c_out = w[0],
          .kh = w[1],
          .kw = w[2],
          .stride = o.stride,
          .dilation = o.dilation,
          .groups = o.groups,
          .top = p.top,
          .left = p.left};
}

}  // namespace

Shape conv2d_shape(const Shape& x, const Shape& w, const Conv2dOptions& options) {
  const ConvShape s = geometry(x, w, options);
  return {s.n, s.ho, s.wo, s.c_out};
}

Variable conv2d(const Variable& x, const Variable& w, const Variable& b,
                const Conv2dOptions& options) {
  const ConvShape s = geometry(x.shape(), w.shape(), options);
  check_conv_operands("conv2d", x.value(), w.value(), b.value(), s.c_out);

  Tensor y;
  if (cpu::is_promised(s, x.value(), s.c_in, s.c_out)) {
    y = cpu::promised_product(x.value(), {.values = w.value().data<float>(),
                                          .transposed = true,
                                          .depth = s.c_in,
                                          .columns = s.c_out,
                                          .bias = cpu::data_or_null<float>(b.value())});
  } else {
    y = Tensor({s.n, s.ho, s.wo, s.c_out}, x.dtype(), x.value().device());
    ON_DEVICE(y, conv2d_forward, s, x.value(), w.value(), b.value(), y);
  }
  return record(
      kConvolution, options, y, {x, w, b},
      // Only what a wanted gradient reads is kept.
      [s, xs = x.shape(), ws = w.shape(), x = w.requires_grad() ? Saved(x) : Saved(),
       w = x.requires_grad() ? Saved(w) : Saved()](const Tensor& dy, const Wanted& wanted) {
        Tensor dx;
        Tensor dw;
        Tensor db;
        if (wanted[2]) {  // first: it has dy in memory, from where the others read it then
          db = wanted.place(2, {s.c_out}, parameter_type(dy.dtype()), dy.device());
          ON_DEVICE(dy, conv2d_bias_gradient, dy, db);
        }
        const Tensor filters = w.get();
        const bool promised = wanted[0] && cpu::is_promised(s, dy, s.c_out, s.c_in);
        if (wanted[0] && !promised) dx = Tensor(xs, dy.dtype(), dy.device());
        if (wanted[1]) dw = wanted.place(1, ws, parameter_type(dy.dtype()), dy.device());
        ON_DEVICE(dy, conv2d_gradients, s, x.get(), dy, filters, dx, dw);
        if (promised)
          dx = cpu::promised_product(dy, {.values = filters.data<float>(),
                                          .transposed = false,
                                          .depth = s.c_out,
                                          .columns = s.c_in});
        return std::vector<Tensor>{dx, dw, db};
      });
}

}  // namespace decant
