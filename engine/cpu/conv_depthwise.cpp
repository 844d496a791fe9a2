#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 64;
constexpr int64_t kMaxSlots = 16;

// The filters of a gather's taps, in its order: [taps, channels].
Scratch pack(const Gather& g, const float* w, int64_t kw, int64_t kernel_size) {
  Scratch packed(std::max<int64_t>(1, std::ssize(g.taps) * g.c));
  float* to = packed.data();
  for (const Tap& tap : g.taps)
    for (int64_t c = 0; c < g.c; ++c) *to++ = w[c * kernel_size + tap.r * kw + tap.s];
  return packed;
}

// y = act(sum over the gather's taps + bias + residual)
void run(const Gather& g, const Source& source, const float* packed, const float* bias,
         PointwiseKind activation, const float* residual, float* y) {
  const Kernels& kernels = cpu::kernels();
  const SourceLines geometry(g, source.data() == nullptr);
  const std::vector<int64_t> taps = geometry.tap_offsets();
  const int64_t block = std::min(geometry.lines_in_cache(), ceil_div(g.lines(), kTasks));
  parallel_ranges(g.lines(), block, [&](int64_t begin, int64_t end) {
    SourceLines lines(geometry);
    Scratch buffer(std::max<int64_t>(1, lines.buffer_size(end - begin)));
    lines.fetch(source, begin, end, buffer.data());
    for (int64_t line = begin; line < end; ++line) {
      const int64_t first = g.out_pixel(line) * g.c;
      kernels.depthwise({.pixels = g.columns,
                         .channels = g.c,
                         .x = lines.line(line),
                         .x_stride = lines.pixel_stride(),
                         .taps = taps.data(),
                         .tap_count = static_cast<int64_t>(taps.size()),
                         .w = packed,
                         .bias = bias,
                         .y = y + first,
                         .y_stride = g.step * g.c});
      finish(activation, at(residual, first), g.columns, g.c, y + first, g.step * g.c);
    }
  });
}

class DepthwiseConv : public PreparedConv {
 public:
  DepthwiseConv(const ConvShape& s, const ConvFilters& filters)
      : shape_(s),
        packed_(pack(gather_forward(s), filters.w, s.kw, s.kh * s.kw)),
        bias_(filters.bias != nullptr ? s.c_out : 1),
        has_bias_(filters.bias != nullptr),
        activation_(filters.activation) {
    if (has_bias_) std::copy_n(filters.bias, s.c_out, bias_.data());
  }

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    run(n, in.x, in.residual, y);
  }
  void run(int64_t n, const Source& x, const float* residual, float* y) const {
    ConvShape s = shape_;
    s.n = n;
    cpu::run(gather_forward(s), x, packed_.data(), has_bias_ ? bias_.data() : nullptr, activation_,
             residual, y);
  }

 private:
  ConvShape shape_;
  Scratch packed_;
  Scratch bias_;
  bool has_bias_;
  PointwiseKind activation_;
};

// Both gradients from one visit to dy: pixels of dx gather taps of dy, and what a tap reads times
// the pixel of x is what the tap's filter gets. x is read at its own pixels, without a border.
//   dx[i] = sum over taps dy[i, tap] w[tap],  dw[tap] += sum over i dy[i, tap] x[i]
// Lines are cut into slots, each with filters of its own that are merged in order.
void gradients_of_phase(const Gather& g, const ConvShape& s, const Source& x, const Source& dy,
                        const float* w, float* dx, float* dw) {
  const SourceLines geometry(g, dy.data() == nullptr);
  const std::vector<int64_t> taps = geometry.tap_offsets();
  const auto tap_count = static_cast<int64_t>(taps.size());
  const int64_t size = tap_count * g.c;
  const int64_t lines_per_slot = ceil_div(g.lines(), kMaxSlots);
  const int64_t slots = ceil_div(g.lines(), lines_per_slot);
  const int64_t block = std::min(geometry.lines_in_cache(), lines_per_slot);
  // A dx that nobody wants is made all the same and thrown away: one kernel, and so the same dw.
  Scratch packed = dx != nullptr ? pack(g, w, s.kw, s.kh * s.kw) : Scratch(size);
  if (dx == nullptr) std::fill_n(packed.data(), size, 0.0F);
  Scratch sums(slots * size);
  parallel_for(slots, [&](int64_t slot) {
    float* sum = sums.data() + slot * size;
    std::fill_n(sum, size, 0.0F);
    const int64_t slot_end = std::min(g.lines(), (slot + 1) * lines_per_slot);
    SourceLines lines(geometry);
    Scratch buffer(std::max<int64_t>(1, lines.buffer_size(block)));
    Scratch row(x.data() == nullptr ? g.out_w * g.c : 1);
    Scratch unwanted(dx == nullptr ? g.out_w * g.c : 1);
    for (int64_t begin = slot * lines_per_slot; begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      lines.fetch(dy, begin, end, buffer.data());
      for (int64_t line = begin; line < end; ++line) {
        const int64_t first = g.out_pixel(line);
        const int64_t row_begin = first - g.first_column;
        const float* x_row = x.pixels(row_begin, row_begin + g.out_w, g.c, row.data());
        kernels().depthwise_gradients({.pixels = g.columns,
                                       .channels = g.c,
                                       .dy = lines.line(line),
                                       .dy_stride = lines.pixel_stride(),
                                       .taps = taps.data(),
                                       .tap_count = tap_count,
                                       .w = packed.data(),
                                       .x = x_row + g.first_column * g.c,
                                       .x_stride = g.step * g.c,
                                       .dx = dx != nullptr ? dx + first * g.c : unwanted.data(),
                                       .dw = sum});
      }
    }
  });
  parallel_ranges(g.c, 64, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t t = 0; t < tap_count; ++t) {
        float total = 0;
        for (int64_t slot = 0; slot < slots; ++slot)
          total += sums.data()[slot * size + t * g.c + c];
        const Tap& tap = g.taps[static_cast<size_t>(t)];
        dw[(c * s.kh + tap.r) * s.kw + tap.s] = total;
      }
    }
  });
}

}  // namespace

std::unique_ptr<PreparedConv> prepare_depthwise(const ConvShape& s, const ConvFilters& filters) {
  return std::make_unique<DepthwiseConv>(s, filters);
}

void depthwise_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                       float* y) {
  DepthwiseConv(s, {w, bias}).run(s.n, x, nullptr, y);
}

void depthwise_input_gradient(const ConvShape& s, const float* dy, const float* w,
                              const float* bias, float* dx) {
  for (const Gather& g : gather_input_gradient(s))
    run(g, dy, pack(g, w, s.kw, s.kh * s.kw).data(), bias, PointwiseKind::none, nullptr, dx);
}

void depthwise_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                         float* dx, float* dw) {
  std::fill_n(dw, s.c_out * s.kh * s.kw, 0.0F);  // of taps that no pixel is read through
  for (const Gather& g : gather_input_gradient(s)) {
    if (!g.taps.empty())
      gradients_of_phase(g, s, x, dy, w, dx, dw);
    else if (dx != nullptr)
      run(g, dy, nullptr, nullptr, PointwiseKind::none, nullptr, dx);
  }
}

}  // namespace decant::cpu
