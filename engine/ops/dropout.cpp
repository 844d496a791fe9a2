#include "engine/ops/dropout.h"

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/dropout_kernels.h"
#include "engine/ops/expect.h"

namespace decant {
namespace cpu {
namespace {

// y = x / (1 - p) where element i of the key's stream is kept, 0 elsewhere.
void dropout_kernel(const Tensor& x, double p, const RngKey& key, Tensor& y) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const T factor = static_cast<T>(1 / (1 - p));
    const Rng rng(key);
    parallel_ranges(x.size(), kElementGrain, [&, in, out](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        out[i] = rng.uniform(static_cast<uint64_t>(i)) < p ? T(0) : factor * in[i];
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kDropout = register_op({.name = "dropout",
                                      .formula = "y = x / (1 - p), or 0 with probability p",
                                      .source = "Srivastava et al. 2014",
                                      .stored = kEveryInput});

struct DropoutOptions {
  double p;
  void visit(auto&& v) const { v("p", p); }
};

}  // namespace

Variable dropout(const Variable& input, double p, const RngKey& key) {
  const Tensor& x = input.value();
  expect_stored(kDropout, x);
  check(p >= 0 && p < 1, "dropout: expected a probability 0 <= p < 1, got ", p);
  if (p == 0) return input;
  Tensor y(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, dropout_kernel, x, p, key, y);
  return record(kDropout, DropoutOptions{p}, y, {input}, [p, key](const Tensor& dy, const Wanted&) {
    Tensor dx(dy.shape(), dy.dtype(), dy.device());
    ON_DEVICE(dy, dropout_kernel, dy, p, key, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace decant
