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

void forward(const ConvShape& shape, const Source& x, const float* w, const float* bias,
             PointwiseKind activation, const float* residual, float* y) {
  const ConvShape s = merge_lines(shape);
  const Gather g = gather_forward(s);
  const SourceLines geometry(g, x.data() == nullptr);
  const std::vector<Segment> segments = geometry.segments(s.c_in);
  const int64_t block = geometry.lines_per_block(kTasks);
  parallel_for(ceil_div(g.lines(), block), [&](int64_t i) {
    const int64_t begin = i * block;
    const int64_t end = std::min(g.lines(), begin + block);
    SourceLines lines(geometry);
    Scratch buffer(lines.buffer_size(end - begin));
    lines.fetch(x, begin, end, buffer.data());
    for (int64_t line = begin; line < end; ++line) {
      const int64_t first = g.out_pixel(line) * s.c_out;
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
                      .c = y + first,
                      .c_stride = s.c_out});
      finish(activation, at(residual, first), g.columns, s.c_out, y + first, s.c_out);
    }
  });
}

// The filters are read as they are stored.
class FewOutputsConv : public PreparedConv {
 public:
  FewOutputsConv(const ConvShape& s, const ConvFilters& filters)
      : shape_(s),
        w_(s.c_out * s.kh * s.kw * s.c_in),
        bias_(s.c_out),
        activation_(filters.activation) {
    std::copy_n(filters.w, s.c_out * s.kh * s.kw * s.c_in, w_.data());
    if (filters.bias != nullptr)
      std::copy_n(filters.bias, s.c_out, bias_.data());
    else
      std::fill_n(bias_.data(), s.c_out, 0.0F);
  }

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    ConvShape s = shape_;
    s.n = n;
    forward(s, in.x, w_.data(), bias_.data(), activation_, in.residual, y);
  }

 private:
  ConvShape shape_;
  Scratch w_;
  Scratch bias_;
  PointwiseKind activation_;
};

}  // namespace

std::unique_ptr<PreparedConv> prepare_few_outputs(const ConvShape& s, const ConvFilters& filters) {
  return std::make_unique<FewOutputsConv>(s, filters);
}

void few_outputs_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                         float* y) {
  forward(s, x, w, bias, PointwiseKind::none, nullptr, y);
}

bool few_outputs_reads_lines(const ConvShape& shape) {
  const Gather g = gather_forward(merge_lines(shape));
  const SourceLines geometry(g, true);
  return geometry.fits(geometry.lines_per_block(kTasks));
}

// Pixels are cut into slots, each with sums of its own that are merged in order.
void few_outputs_weight_gradient(const ConvShape& shape, const float* x, const float* dy,
                                 float* dw) {
  const ConvShape s = merge_lines(shape);
  const Gather g = gather_forward(s);
  const SourceLines geometry(g);
  const std::vector<Segment> segments = geometry.segments(s.c_in);
  const int64_t depth = s.kh * s.kw * s.c_in;
  const int64_t size = s.c_out * depth;
  const int64_t lines_per_slot =
      ceil_div(g.lines(), slots_for(g.lines(), g.lines() * g.columns, size));
  const int64_t slots = ceil_div(g.lines(), lines_per_slot);
  const int64_t block = std::min(geometry.lines_in_cache(), lines_per_slot);
  const int64_t max_width = kernels().max_width;
  Scratch sums(slots * size);

  // Of one line, run by run of the source.
  const auto add_line = [&](const float* source, int64_t line, Start start, float* sum) {
    const int64_t first = 0;
    for (const Segment& run : segments)
      for (int64_t k = 0; k < run.length; k += max_width) {
        const int64_t width = std::min(max_width, run.length - k);
        kernels().outer({.rows = s.c_out,
                         .columns = width,
                         .a = dy + g.out_pixel(line) * s.c_out,
                         .a_stride = s.c_out,
                         .lines = &first,
                         .line_count = 1,
                         .pixels = g.columns,
                         .b = source + run.offset + k,
                         .b_stride = geometry.pixel_stride(),
                         .width = width,
                         .start = start,
                         .c = sum,
                         .c_stride = depth});
        sum += width;
      }
  };
  parallel_for(slots, [&](int64_t slot) {
    const int64_t slot_begin = slot * lines_per_slot;
    const int64_t slot_end = std::min(g.lines(), slot_begin + lines_per_slot);
    SourceLines lines(geometry);
    Scratch buffer(lines.buffer_size(block));
    for (int64_t begin = slot_begin; begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      lines.fetch(x, begin, end, buffer.data());
      for (int64_t line = begin; line < end; ++line)
        add_line(lines.line(line), line, line == slot_begin ? Start::zero : Start::accumulate,
                 sums.data() + slot * size);
    }
  });
  parallel_ranges(size, kElementGrain, [&](int64_t begin, int64_t end) {
    float* const total = sums.data() + begin;
    add_slots(slots, size, end - begin, total);
    std::copy_n(total, end - begin, dw + begin);
  });
}

}  // namespace decant::cpu
