#include "engine/ops/dropout2d.h"

#include "engine/ops/arithmetic.h"
#include "engine/ops/dropout.h"

namespace decant {

Variable dropout2d(const Variable& x, double p, const RngKey& key) {
  const Shape& s = x.shape();
  check(s.rank() == 4, "dropout2d: expected [N, H, W, C], got ", s);
  if (p == 0) return x;
  const Tensor ones = Tensor::full({s[0], 1, 1, s[3]}, 1, x.dtype(), x.value().device());
  return mul(x, dropout(Variable(ones), p, key));
}

}  // namespace decant
