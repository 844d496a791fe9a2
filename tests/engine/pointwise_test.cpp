#include "engine/ops/pointwise.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/core/allocator.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/pointwise_ops.h"

using namespace decant;

namespace {

struct Named {
  std::string name;
  Variable (*function)(const Variable&);
};

#define DECANT_NAMED(function, Op) {#function, function},
const Named kOps[] = {DECANT_POINTWISE_OPS(DECANT_NAMED)};
#undef DECANT_NAMED

bool all_nan(const Tensor& t) {
  const Tensor values = t.to(DType::f64);
  return std::ranges::all_of(values.values<double>(), [](double v) { return std::isnan(v); });
}

}  // namespace

TEST_CASE("no pointwise op hides a NaN") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Variable x(Tensor::full({19}, NAN, dtype));
    for (const Named& op : kOps) {
      CAPTURE(op.name);
      CHECK(all_nan(op.function(x).value()));
    }
    CHECK(all_nan(leaky_relu(x, 0.1).value()));
  }
}

TEST_CASE("a pointwise op keeps one tensor for its backward pass, its input or its result") {
  const auto in_use = [] { return cpu_memory::statistics().in_use_bytes; };
  const Tensor values = Tensor::full({1 << 16}, 0.5);
  const Variable x = Variable::leaf(values);
  const auto held = [&](Variable (*function)(const Variable&)) {
    const size_t before = in_use();
    // Neither the op's input nor its result is held by anyone but the op.
    const Variable y = add_scalar(function(add_scalar(x, 0.25)), 1);
    return in_use() - before;
  };
  const size_t one = held([](const Variable& v) { return v; });
  for (const Named& op : kOps) {
    CAPTURE(op.name);
    CHECK(held(op.function) == 2 * one);
  }
}

TEST_CASE("no activation of batch norm hides a NaN") {
  for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6,
                                      Activation::hard_swish, Activation::silu}) {
    CAPTURE(name_of(activation));
    for (const DType dtype : {DType::f32, DType::f64}) {
      Tensor mean = Tensor::zeros({17}, dtype);
      Tensor var = Tensor::full({17}, 1, dtype);
      const Variable one(Tensor::full({17}, 1, dtype));
      CHECK(all_nan(batch_norm(Variable(Tensor::full({3, 17}, NAN, dtype)), one, one, mean, var,
                               {.activation = activation})
                        .value()));
    }
  }
}
