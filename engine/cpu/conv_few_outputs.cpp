#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

// Convolutions to a mask: one output channel, or a few. Vectors run along the channels of x, which
// lie side by side, for all taps of a kernel's row at once: a result is a dot product with the
// filter as it is stored, and the filter's gradient a sum of such runs of x, each times an entry of
// dy.

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 64;

// Calls f(begin, end, number) for blocks of output lines that depend on the shape alone.
template <class F>
void for_blocks(const Gather& g, const SourceLines& source, const F& f) {
  const int64_t block = std::min(source.lines_in_cache(), ceil_div(g.lines(), kTasks));
  parallel_for(ceil_div(g.lines(), block),
               [&](int64_t i) { f(i * block, std::min(g.lines(), (i + 1) * block), i); });
}

}  // namespace

void few_outputs_forward(const ConvShape& shape, const float* x, const float* w, const float* bias,
                         float* y) {
  const ConvShape s = merge_lines(shape);
  const Gather g = gather_forward(s);
  const SourceLines geometry(g);
  const std::vector<Segment> segments = geometry.segments(s.c_in);
  for_blocks(g, geometry, [&](int64_t begin, int64_t end, int64_t) {
    SourceLines lines(geometry);
    Scratch buffer(std::max<int64_t>(1, lines.buffer_size(end - begin)));
    lines.fetch(x, begin, end, buffer.data());
    for (int64_t line = begin; line < end; ++line)
      kernels().dots({.rows = g.columns,
                      .columns = s.c_out,
                      .a = lines.line(line),
                      .a_stride = lines.pixel_stride(),
                      .segments = segments.data(),
                      .segment_count = static_cast<int64_t>(segments.size()),
                      .b = w,
                      .width = s.kh * s.kw * s.c_in,
                      .start = bias != nullptr ? Start::bias : Start::zero,
                      .bias = bias,
                      .c = y + g.out_pixel(line) * s.c_out,
                      .c_stride = s.c_out});
  });
}

// Each block of lines has sums of its own, which are merged in order.
void few_outputs_weight_gradient(const ConvShape& shape, const float* x, const float* dy,
                                 float* dw) {
  const ConvShape s = merge_lines(shape);
  const Gather g = gather_forward(s);
  const SourceLines geometry(g);
  const std::vector<Segment> segments = geometry.segments(s.c_in);
  const int64_t depth = s.kh * s.kw * s.c_in;
  const int64_t size = s.c_out * depth;
  const int64_t block = std::min(geometry.lines_in_cache(), ceil_div(g.lines(), kTasks));
  const int64_t blocks = ceil_div(g.lines(), block);
  Scratch sums(blocks * size);
  for_blocks(g, geometry, [&](int64_t begin, int64_t end, int64_t i) {
    SourceLines lines(geometry);
    Scratch buffer(std::max<int64_t>(1, lines.buffer_size(end - begin)));
    lines.fetch(x, begin, end, buffer.data());
    for (int64_t line = begin; line < end; ++line) {
      float* sum = sums.data() + i * size;
      for (const Segment& s_run : segments)
        for (int64_t k = 0; k < s_run.length; k += kernels().max_width) {
          const int64_t width = std::min(kernels().max_width, s_run.length - k);
          const int64_t first = 0;
          kernels().outer({.rows = s.c_out,
                           .columns = width,
                           .a = dy + g.out_pixel(line) * s.c_out,
                           .a_stride = s.c_out,
                           .lines = &first,
                           .line_count = 1,
                           .pixels = g.columns,
                           .b = lines.line(line) + s_run.offset + k,
                           .b_stride = lines.pixel_stride(),
                           .width = width,
                           .start = line == begin ? Start::zero : Start::accumulate,
                           .c = sum,
                           .c_stride = depth});
          sum += width;
        }
    }
  });
  std::copy_n(sums.data(), size, dw);
  for (int64_t i = 1; i < blocks; ++i)
    for (int64_t k = 0; k < size; ++k) dw[k] += sums.data()[i * size + k];
}

}  // namespace decant::cpu
