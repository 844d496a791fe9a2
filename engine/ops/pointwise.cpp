#include "engine/ops/pointwise.h"

#include "engine/core/on_device.h"
#include "engine/ops/expect.h"
#include "engine/ops/pointwise_kernels.h"

namespace decant {
namespace {

template <class Op>
Variable map(const OpInfo& info, const Variable& input) {
  const Tensor& x = input.value();
  expect_stored(info, x);
  Tensor y(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, map_forward<Op>, x, y);

  const Saved kept(Op::kReads == pointwise::Reads::x ? x : y);
  return record(info, y, {input}, [kept](const Tensor& dy, const Wanted&) {
    Tensor dx(dy.shape(), dy.dtype(), dy.device());
    ON_DEVICE(dy, map_backward<Op>, kept.get(), dy, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace

#define DECANT_DEFINE(function, Op)                                      \
  namespace {                                                            \
  const OpInfo& k##Op = register_op({.name = pointwise::Op::kName,       \
                                     .formula = pointwise::Op::kFormula, \
                                     .source = pointwise::Op::kSource,   \
                                     .stored = kEveryInput});            \
  }                                                                      \
  Variable function(const Variable& x) {                                 \
    return map<pointwise::Op>(k##Op, x);                                 \
  }
DECANT_POINTWISE_OPS(DECANT_DEFINE)
#undef DECANT_DEFINE

}  // namespace decant
