#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/expect.h"
#include "engine/ops/leaky_relu_kernels.h"
#include "engine/ops/pointwise.h"

namespace decant {
namespace cpu {
namespace {

// y = a where x > 0, slope * a elsewhere: forward with a = x, backward with a = dy.
void leaky_select(const Tensor& x, const Tensor& a, double slope, Tensor& y) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* sign = x.data<T>();
    const T* in = a.data<T>();
    T* out = y.mutable_data<T>();
    const T factor = static_cast<T>(slope);
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = sign[i] > T(0) ? in[i] : factor * in[i];
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kLeakyRelu = register_op({.name = "leaky_relu",
                                        .formula = "y = x > 0 ? x : slope x",
                                        .source = "Maas et al. 2013",
                                        .stored = kEveryInput});

struct LeakyReluOptions {
  double slope;
  void visit(auto&& v) const { v("slope", slope); }
};

}  // namespace

Variable leaky_relu(const Variable& input, double slope) {
  const Tensor& x = input.value();
  expect_stored(kLeakyRelu, x);
  Tensor y(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, leaky_select, x, x, slope, y);

  return record(kLeakyRelu, LeakyReluOptions{slope}, y, {input},
                [x = Saved(x), slope](const Tensor& dy, const Wanted&) {
                  Tensor dx(dy.shape(), dy.dtype(), dy.device());
                  ON_DEVICE(dy, leaky_select, x.get(), dy, slope, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace decant
