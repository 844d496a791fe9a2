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
void run(const Gather& g, const float* source, const float* packed, const float* bias,
         PointwiseKind activation, const float* residual, float* y) {
  const Kernels& kernels = cpu::kernels();
  const SourceLines geometry(g);
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
    ConvShape s = shape_;
    s.n = n;
    cpu::run(gather_forward(s), in.x, packed_.data(), has_bias_ ? bias_.data() : nullptr,
             activation_, in.residual, y);
  }

 private:
  ConvShape shape_;
  Scratch packed_;
  Scratch bias_;
  bool has_bias_;
  PointwiseKind activation_;
};

}  // namespace

std::unique_ptr<PreparedConv> prepare_depthwise(const ConvShape& s, const ConvFilters& filters) {
  return std::make_unique<DepthwiseConv>(s, filters);
}

void depthwise_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                       float* y) {
  DepthwiseConv(s, {w, bias}).run(s.n, {x}, y);
}

void depthwise_input_gradient(const ConvShape& s, const float* dy, const float* w,
                              const float* bias, float* dx) {
  for (const Gather& g : gather_input_gradient(s))
    run(g, dy, pack(g, w, s.kw, s.kh * s.kw).data(), bias, PointwiseKind::none, nullptr, dx);
}

void depthwise_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw) {
  const Kernels& kernels = cpu::kernels();
  const Gather g = gather_forward(s);
  const SourceLines geometry(g);
  const std::vector<int64_t> taps = geometry.tap_offsets();
  const int64_t size = static_cast<int64_t>(taps.size()) * g.c;
  const int64_t lines_per_slot = ceil_div(g.lines(), kMaxSlots);
  const int64_t slots = ceil_div(g.lines(), lines_per_slot);
  Scratch sums(slots * size);
  parallel_for(slots, [&](int64_t slot) {
    float* sum = sums.data() + slot * size;
    std::fill_n(sum, size, 0.0F);
    const int64_t slot_end = std::min(g.lines(), (slot + 1) * lines_per_slot);
    const int64_t block = std::min(geometry.lines_in_cache(), lines_per_slot);
    SourceLines lines(geometry);
    Scratch buffer(std::max<int64_t>(1, lines.buffer_size(block)));
    for (int64_t begin = slot * lines_per_slot; begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      lines.fetch(x, begin, end, buffer.data());
      for (int64_t line = begin; line < end; ++line) {
        kernels.depthwise_gradient({.pixels = g.columns,
                                    .channels = g.c,
                                    .x = lines.line(line),
                                    .x_stride = lines.pixel_stride(),
                                    .taps = taps.data(),
                                    .tap_count = static_cast<int64_t>(taps.size()),
                                    .dy = dy + g.out_pixel(line) * g.c,
                                    .dy_stride = g.c,
                                    .dw = sum});
      }
    }
  });
  const auto tap_count = static_cast<int64_t>(taps.size());
  parallel_ranges(g.c, 64, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t t = 0; t < tap_count; ++t) {
        float total = 0;
        for (int64_t slot = 0; slot < slots; ++slot)
          total += sums.data()[slot * size + t * g.c + c];
        dw[c * tap_count + t] = total;
      }
    }
  });
}

}  // namespace decant::cpu
