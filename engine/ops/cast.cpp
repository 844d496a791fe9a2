#include "engine/ops/cast.h"

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/cast_kernels.h"
#include "engine/ops/expect.h"

namespace decant {
namespace cpu {
namespace {

void convert(const Tensor& from, Tensor& to) {
  with_type(from.dtype(), [&]<class From>() {
    with_type(to.dtype(), [&]<class To>() {
      const From* in = from.data<From>();
      To* out = to.mutable_data<To>();
      parallel_ranges(to.size(), kElementGrain, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) out[i] = static_cast<To>(in[i]);
      });
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kCast = register_op({.name = "cast",
                                   .formula = "y = x in another type",
                                   .source = "elementary",
                                   .stored = kEveryInput});

struct CastOptions {
  DType dtype;
  void visit(auto&& v) const { v("dtype", name_of(dtype)); }
};

Tensor converted(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y(x.shape(), dtype, x.device());
  ON_DEVICE(x, convert, x, y);
  return y;
}

}  // namespace

Variable cast(const Variable& x, DType dtype) {
  const auto is_fraction = [](DType d) { return is_real(d) || d == DType::bf16; };
  check(x.defined() && is_fraction(x.dtype()), "cast: expected float32, float64 or bfloat16, got ",
        x.defined() ? name_of(x.dtype()) : "none");
  check(is_fraction(dtype), "cast: expected float32, float64 or bfloat16 to cast to, got ", dtype);
  return record(kCast, CastOptions{dtype}, converted(x.value(), dtype), {x},
                [before = x.dtype()](const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{converted(dy, before)};
                });
}

}  // namespace decant
