#include "engine/ops/matmul.h"

#include "engine/autograd/profile.h"
#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/cpu/column_sums.h"
#include "engine/cpu/gemm.h"
#include "engine/ops/expect.h"
#include "engine/ops/matmul_kernels.h"
#include "engine/ops/matmul_reference.h"

namespace decant {
namespace cpu {
namespace {

// y = op(a) op(b) + bias; a and b matrices, bias [N] or undefined.
void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
             const Tensor& bias, Tensor& y) {
  const Gemm g{.m = y.shape()[0],
               .n = y.shape()[1],
               .k = a.shape()[transpose_a ? 0 : 1],
               .transpose_a = transpose_a,
               .transpose_b = transpose_b};
  if (y.dtype() == DType::f32) {
    Gemm with_bias = g;
    if (bias.defined()) with_bias.bias = bias.data<float>();
    sgemm(with_bias, a.data<float>(), b.data<float>(), y.mutable_data<float>());
    return;
  }
  reference::matmul(g, a.data<double>(), b.data<double>(),
                    bias.defined() ? bias.data<double>() : nullptr, y.mutable_data<double>());
}

void sum_rows(const Tensor& x, Tensor& sums) {
  with_real_type(x.dtype(), [&]<class T>() {
    column_sums(x.data<T>(), x.shape()[0], x.shape()[1], sums.mutable_data<T>());
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kMatmul = register_op({.name = "matmul",
                                     .formula = "y = op(a) op(b)",
                                     .source = "Golub & Van Loan, section 1.1",
                                     .stored = kEveryInput,
                                     .multiplied = kFirstTwoInputs});
const OpInfo& kLinear = register_op({.name = "linear",
                                     .formula = "y = x w^T + b",
                                     .source = "Rosenblatt 1958, without the threshold",
                                     .stored = kFirstInput,
                                     .multiplied = kFirstTwoInputs});

Tensor product(DType type, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
               const Tensor& bias = {}) {
  const int64_t m = a.shape()[transpose_a ? -1 : -2];
  const int64_t n = b.shape()[transpose_b ? -2 : -1];
  Profile::note("product", a.shape().size() * n);
  if (a.shape().rank() == 2) {
    Tensor y({m, n}, type, a.device());
    ON_DEVICE(a, product, a, transpose_a, b, transpose_b, bias, y);
    return y;
  }
  const int64_t batch = a.shape()[0];
  Tensor y({batch, m, n}, type, a.device());
  const auto matrix = [](const Tensor& t, int64_t i) {
    const Shape shape = {t.shape()[1], t.shape()[2]};
    return t.view(i * shape.size(), shape);
  };
  for (int64_t i = 0; i < batch; ++i) {
    Tensor of_pair = matrix(y, i);
    ON_DEVICE(a, product, matrix(a, i), transpose_a, matrix(b, i), transpose_b, bias, of_pair);
  }
  return y;
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b, const MatmulOptions& options) {
  const Shape& as = a.shape();
  const Shape& bs = b.shape();
  const bool ta = options.transpose_a;
  const bool tb = options.transpose_b;
  const bool batches = as.rank() == 3 && bs.rank() == 3 && as[0] == bs[0];
  check(batches || (as.rank() == 2 && bs.rank() == 2),
        "matmul: expected two matrices or two batches of as many, got a ", as, " and b ", bs);
  check(as[ta ? -2 : -1] == bs[tb ? -1 : -2], "matmul: inner sizes differ, a ", as,
        ta ? " transposed" : "", " and b ", bs, tb ? " transposed" : "");
  check(is_stored(a.value()) && a.dtype() == b.dtype(), "matmul: expected one real type, got a ",
        a.dtype(), " and b ", b.dtype());

  Tensor y = product(a.dtype(), a.value(), ta, b.value(), tb);
  return record(
      kMatmul, options, y, {a, b},
      // Only what a wanted gradient reads is kept.
      [a = b.requires_grad() ? Saved(a) : Saved(), b = a.requires_grad() ? Saved(b) : Saved(), ta,
       tb](const Tensor& dy, const Wanted& wanted) {
        const DType type = dy.dtype();
        Tensor da;
        Tensor db;
        if (wanted[0])
          da = ta ? product(type, b.get(), tb, dy, true) : product(type, dy, false, b.get(), !tb);
        if (wanted[1])
          db = tb ? product(type, dy, true, a.get(), ta) : product(type, a.get(), !ta, dy, false);
        return std::vector<Tensor>{da, db};
      });
}

Variable linear(const Variable& x, const Variable& w, const Variable& b) {
  const Shape& xs = x.shape();
  const Shape& ws = w.shape();
  check(xs.rank() >= 1 && ws.rank() == 2 && xs[-1] == ws[1] && ws[1] > 0,
        "linear: expected x [.., in] and w [out, in] with in > 0, got x ", xs, " and w ", ws);
  check(!b.defined() || b.shape() == Shape({ws[0]}), "linear: expected b [", ws[0], "] for w ", ws,
        ", got b ", b.shape());
  check(is_stored(x.value()) && w.dtype() == parameter_type(x.dtype()) &&
            (!b.defined() || b.dtype() == w.dtype()),
        "linear: expected one real type, or bfloat16 x on cuda and float32 w, got x ", x.dtype(),
        b.defined() ? ", w " : " and w ", w.dtype(), b.defined() ? str(" and b ", b.dtype()) : "");
  const Shape rows = {xs.size() / xs[-1], xs[-1]};
  Shape ys = xs;
  ys[-1] = ws[0];

  Tensor y = product(x.dtype(), x.value().reshape(rows), false, w.value(), true, b.value());
  return record(
      kLinear, y.reshape(ys), {x, w, b},
      [x = w.requires_grad() ? Saved(x) : Saved(), w = x.requires_grad() ? Saved(w) : Saved(), xs,
       out = ws[0], rows](const Tensor& dy, const Wanted& wanted) {
        const Tensor d = dy.reshape({rows[0], out});
        const DType parameters = parameter_type(d.dtype());
        Tensor dx;
        Tensor dw;
        Tensor db;
        if (wanted[0]) dx = product(d.dtype(), d, false, w.get(), false).reshape(xs);
        if (wanted[1]) dw = product(parameters, d, true, x.get().reshape(rows), false);
        if (wanted[2]) {
          db = Tensor({d.shape()[1]}, parameters, d.device());
          ON_DEVICE(d, sum_rows, d, db);
        }
        return std::vector<Tensor>{dx, dw, db};
      });
}

}  // namespace decant
