#include <algorithm>
#include <optional>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/level.h"
#include "engine/cpu/packed_product.h"
#include "engine/cpu/panels.h"

// Both gradients of a 1x1 convolution in one pass over x and dy, a block of pixels at a time:
//   dx = dy w,  dw = dy^T x
// Few filters, and many pixels whose reading costs more than the arithmetic. Blocks are cut into
// slots, each with filters of its own that are merged in order.

namespace decant::cpu {
namespace {

constexpr int64_t kMaxFilters = int64_t{32} * 1024;   // 128 KB, twice: w, and a slot of dw
constexpr int64_t kBlockFloats = int64_t{16} * 1024;  // of x and dy: 64 KB
constexpr int64_t kMinBlock = 32;                     // pixels, so that sums stay in registers

// Adds up dw with the wider of the two maps along the vectors.
struct Sides {
  int64_t c_in, c_out;

  bool along_x() const { return c_in >= c_out; }
  int64_t narrow() const { return std::min(c_in, c_out); }
  int64_t wide() const { return std::max(c_in, c_out); }

  // sum [narrow, wide] += narrow map^T wide map; whole vectors of the wide map are read.
  void add(int64_t pixels, const float* x, const float* dy, bool first, float* sum) const {
    const int64_t line = 0;
    const Panels panels(kernels(), wide());
    for (int64_t panel = 0; panel < panels.count(); ++panel)
      kernels().outer({.rows = narrow(),
                       .columns = panels.columns(panel),
                       .a = along_x() ? dy : x,
                       .a_stride = narrow(),
                       .lines = &line,
                       .line_count = 1,
                       .pixels = pixels,
                       .b = (along_x() ? x : dy) + panels.first(panel),
                       .b_stride = wide(),
                       .width = panels.width(panel),
                       .start = first ? Start::zero : Start::accumulate,
                       .c = sum + panels.first(panel),
                       .c_stride = wide()});
  }
};

// Pixels of a map, which are copied to where the last vector may be read beyond the last pixel.
class Block {
 public:
  Block(const Source& source, int64_t channels, int64_t pixels, bool read_beyond)
      : source_(source),
        channels_(channels),
        copies_(read_beyond && channels % kernels().lanes != 0),
        buffer_(copies_ || source.data() == nullptr ? pixels * channels + kernels().lanes : 0) {}
  const float* fetch(int64_t begin, int64_t end) {
    if (!copies_) return source_.pixels(begin, end, channels_, buffer_.data());
    source_.copy(begin, end, channels_, buffer_.data());
    std::fill_n(buffer_.data() + (end - begin) * channels_, kernels().lanes, 0.0F);
    return buffer_.data();
  }

 private:
  Source source_;
  int64_t channels_;
  bool copies_;
  Scratch buffer_;
};

}  // namespace

bool is_pointwise(const ConvShape& s) {
  return maps_pixels(s) && s.groups == 1;
}

bool has_pointwise_gradients(const ConvShape& s) {
  return is_pointwise(s) && s.c_in * s.c_out <= kMaxFilters;
}

void pointwise_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                         float* dx, float* dw) {
  const Sides sides = {s.c_in, s.c_out};
  std::optional<PackedProduct> to_dx;
  if (dx != nullptr)
    to_dx.emplace(PackedProduct::Matrix{
        .values = w, .transposed = false, .depth = s.c_out, .columns = s.c_in});
  const int64_t pixels = s.n * s.h * s.w;
  const int64_t size = s.c_in * s.c_out;
  const int64_t block = std::max(kMinBlock, kBlockFloats / (s.c_in + s.c_out));
  const int64_t blocks = ceil_div(pixels, block);
  const int64_t blocks_per_slot = ceil_div(blocks, slots_for(blocks, pixels, size));
  const int64_t slots = ceil_div(blocks, blocks_per_slot);
  Scratch sums(slots * size);
  parallel_for(slots, [&](int64_t slot) {
    Block x_block(x, s.c_in, block, sides.along_x());
    Block dy_block(dy, s.c_out, block, !sides.along_x());
    const int64_t slot_begin = slot * blocks_per_slot * block;
    const int64_t slot_end = std::min(pixels, slot_begin + blocks_per_slot * block);
    for (int64_t begin = slot_begin; begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      const float* dy_pixels = dy_block.fetch(begin, end);
      sides.add(end - begin, x_block.fetch(begin, end), dy_pixels, begin == slot_begin,
                sums.data() + slot * size);
      if (to_dx)
        to_dx->run(end - begin, dy_pixels, PointwiseKind::none, nullptr, dx + begin * s.c_in);
    }
  });
  parallel_ranges(size, kElementGrain, [&](int64_t begin, int64_t end) {
    float* const total = sums.data() + begin;
    add_slots(slots, size, end - begin, total);
    if (sides.along_x()) std::copy_n(total, end - begin, dw + begin);
  });
  if (sides.along_x()) return;
  // The sums lie as [c_in, c_out], dw as [c_out, c_in].
  kernels().transpose({.rows = s.c_out,
                       .columns = s.c_in,
                       .a = sums.data(),
                       .a_stride = s.c_out,
                       .b = dw,
                       .b_stride = s.c_in,
                       .width = s.c_in});
}

}  // namespace decant::cpu
