#include "engine/cpu/packed_product.h"

#include <algorithm>

#include "engine/cpu/conv_cases.h"
#include "engine/cpu/level.h"

namespace decant::cpu {

PackedProduct::PackedProduct(const Matrix& b)
    : depth_(b.depth),
      columns_(b.columns),
      panels_(kernels(), b.columns),
      packed_(panels_.packed_size(b.depth)),
      bias_(panels_.padded_columns()) {
  std::fill_n(bias_.data(), panels_.padded_columns(), 0.0F);
  if (b.bias != nullptr) std::copy_n(b.bias, columns_, bias_.data());
  for (int64_t panel = 0; panel < panels_.count(); ++panel) {
    const int64_t first = panels_.first(panel);
    const int64_t columns = panels_.columns(panel);
    const int64_t width = panels_.width(panel);
    float* to = packed_.data() + panels_.offset(panel, depth_);
    if (b.transposed) {
      kernels().transpose({.rows = depth_,
                           .columns = columns,
                           .a = b.values + first * depth_,
                           .a_stride = depth_,
                           .b = to,
                           .b_stride = width,
                           .width = width});
      continue;
    }
    for (int64_t k = 0; k < depth_; ++k, to += width) {
      std::copy_n(b.values + k * columns_ + first, columns, to);
      std::fill(to + columns, to + width, 0.0F);
    }
  }
}

void PackedProduct::run(int64_t pixels, const float* x, PointwiseKind activation,
                        const float* residual, float* y) const {
  for (int64_t panel = 0; panel < panels_.count(); ++panel) {
    const int64_t width = panels_.width(panel);
    const int64_t part = panel_part(depth_, width);
    const int64_t first = panels_.first(panel);
    for (int64_t k = 0; k < depth_; k += part) {
      const Segment segment = {.offset = k, .length = std::min(part, depth_ - k)};
      kernels().rows({.rows = pixels,
                      .columns = panels_.columns(panel),
                      .a = x,
                      .a_stride = depth_,
                      .segments = &segment,
                      .segment_count = 1,
                      .b = packed_.data() + panels_.offset(panel, depth_) + k * width,
                      .width = width,
                      .start = k == 0 ? Start::bias : Start::accumulate,
                      .bias = bias_.data() + first,
                      .c = y + first,
                      .c_stride = columns_});
    }
    finish(activation, at(residual, first), pixels, panels_.columns(panel), y + first, columns_);
  }
}

}  // namespace decant::cpu
