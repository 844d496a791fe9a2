#include "engine/cuda/blas.h"

#include "engine/core/error.h"
#include "engine/cuda/launch_count.h"
#include "engine/cuda/stream.h"

namespace decant::cuda {
namespace {

void checked(ProductCall call) {
  Product& p = call.product;
  check(p.m >= 0 && p.n >= 0 && p.k >= 0, "product: expected sizes of at least 0, got ", p.m, " x ",
        p.k, " x ", p.n);
  const auto fill_in = [](const char* name, int64_t& stride, int64_t width) {
    check(stride == 0 || stride >= width, "product: expected a stride of ", name, " of at least ",
          width, ", got ", stride);
    if (stride == 0) stride = width;
  };
  fill_in("a", p.a_stride, p.transpose_a ? p.m : p.k);
  fill_in("b", p.b_stride, p.transpose_b ? p.k : p.n);
  fill_in("y", p.y_stride, p.n);
  check(p.bias == nullptr || !call.bf16_result, "product: expected no bias where y is bf16");
  if (p.m == 0 || p.n == 0) return;
  check(p.k > 0, "product: expected a sum of products, got none: ", p.m, " x 0 x ", p.n);
  multiply(call);
  count_launch("product");
  sync_if_asked("product");
}

}  // namespace

void product(const Product& p, const float* a, const float* b, float* y) {
  checked({p, a, b, y, false, false});
}

void product(const Product& p, const bf16* a, const bf16* b, float* y) {
  checked({p, a, b, y, true, false});
}

void product(const Product& p, const bf16* a, const bf16* b, bf16* y) {
  checked({p, a, b, y, true, true});
}

}  // namespace decant::cuda
