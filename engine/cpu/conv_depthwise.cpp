#include <algorithm>
#include <deque>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 64;
constexpr int64_t kGradientTasks = 32;  // where both gradients are made in one pass
constexpr int64_t kPartChannels = 64;   // of a part of the channels, or a multiple of it

// The filters of a gather's taps, in its order: [taps, channels] of each part of the channels.
Scratch pack(const Gather& g, const float* w, const ConvShape& s, int64_t part) {
  Scratch packed(std::ssize(g.taps) * g.c);
  float* to = packed.data();
  for (int64_t first = 0; first < g.c; first += part)
    for (const Tap& tap : g.taps)
      for (int64_t c = first; c < std::min(g.c, first + part); ++c)
        *to++ = w[(c * s.kh + tap.r) * s.kw + tap.s];
  return packed;
}
Scratch pack(const Gather& g, const float* w, const ConvShape& s) {
  return pack(g, w, s, g.c);
}

// y = act(sum over the gather's taps + bias + residual)
void run(const Gather& g, const Source& source, const float* packed, const float* bias,
         PointwiseKind activation, const float* residual, float* y) {
  const Kernels& kernels = cpu::kernels();
  const SourceLines geometry(g, source.data() == nullptr);
  const std::vector<int64_t> taps = geometry.tap_offsets();
  const int64_t block = geometry.lines_per_block(kTasks);
  parallel_ranges(g.lines(), block, [&](int64_t begin, int64_t end) {
    SourceLines lines(geometry);
    Scratch buffer(lines.buffer_size(end - begin));
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
        packed_(pack(gather_forward(s), filters.w, s)),
        bias_(filters.bias != nullptr ? s.c_out : 0),
        activation_(filters.activation) {
    if (filters.bias != nullptr) std::copy_n(filters.bias, s.c_out, bias_.data());
  }

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    run(n, in.x, in.residual, y);
  }
  void run(int64_t n, const Source& x, const float* residual, float* y) const {
    ConvShape s = shape_;
    s.n = n;
    cpu::run(gather_forward(s), x, packed_.data(), bias_.data(), activation_, residual, y);
  }

 private:
  ConvShape shape_;
  Scratch packed_;
  Scratch bias_;  // or null
  PointwiseKind activation_;
};

int64_t lines_per_slot(const Gather& g) {
  return ceil_div(g.lines(), kMaxSlots);
}

// Lines of dy that are fetched at a time. Those that are made are cut into few blocks of nearly
// equal length, or into whole images: a short block would make its neighbours' rows again.
int64_t gradient_block(const Gather& g, const SourceLines& dy, bool made) {
  const int64_t slot = lines_per_slot(g);
  const int64_t block = std::min(slot, dy.lines_per_block(kMaxSlots));
  return made && block % g.rows != 0 ? ceil_div(slot, slot / block) : block;
}

// Both gradients from one visit to dy: pixels of dx gather taps of dy, and what a tap reads times
// the pixel of x is what the tap's filter gets. x is read at its own pixels, without a border.
//   dx[i] = sum over taps dy[i, tap] w[tap],  dw[tap] += sum over i dy[i, tap] x[i]
// Of one phase. Lines are cut into slots, and channels, each of which is by itself, into parts: a
// task is a slot of a part. What is made is made of all channels at once, so there is one part.
class PhaseGradients {
 public:
  PhaseGradients(const Gather& g, const ConvShape& s, const Source& x, const Source& dy,
                 const float* w, float* dx)
      : g_(g),
        x_(x),
        dy_(dy),
        dx_(dx),
        made_(x.data() == nullptr || dy.data() == nullptr),
        taps_(std::ssize(g.taps)),
        slots_(ceil_div(g.lines(), lines_per_slot(g))),
        channels_(part_channels()),
        parts_(ceil_div(g.c, channels_)),
        w_(dx != nullptr ? pack(g, w, s, channels_) : Scratch(size())),
        sums_(slots_ * size()) {
    // A dx that nobody wants is made all the same and thrown away: one kernel, and so the same dw.
    if (dx == nullptr) std::fill_n(w_.data(), size(), 0.0F);
  }

  int64_t tasks() const { return slots_ * parts_; }
  void run(int64_t task) { run(task / parts_, task % parts_); }
  /// After all tasks.
  void add(const ConvShape& s, float* dw) {
    parallel_ranges(g_.c, kPartChannels,
                    [&](int64_t begin, int64_t end) { merge(s, begin, end, dw); });
  }

 private:
  int64_t size() const { return taps_ * g_.c; }
  int64_t part_channels() const {
    const int64_t vectors = ceil_div(g_.c, kPartChannels);
    const int64_t parts = made_ ? 1 : std::min(vectors, ceil_div(kGradientTasks, slots_));
    return std::min(g_.c, ceil_div(vectors, parts) * kPartChannels);
  }

  void fetch(SourceLines& lines, const Gather& part, int64_t first, int64_t begin, int64_t end,
             float* buffer) const {
    if (parts_ == 1) return lines.fetch(dy_, begin, end, buffer);
    lines.fetch_pixels(
        [&](int64_t image, int64_t row, int64_t first_pixel, int64_t count, float* out) {
          const float* from = dy_.data() + ((image * g_.h + row) * g_.w + first_pixel) * g_.c;
          for (int64_t i = 0; i < count; ++i)
            out = std::copy_n(from + i * g_.c + first, part.c, out);
        },
        begin, end, buffer);
  }

  // The part's sums over the lines of a slot, and their dx.
  void run(int64_t slot, int64_t part_index) {
    const int64_t first = part_index * channels_;
    Gather part = g_;
    part.c = std::min(channels_, g_.c - first);
    SourceLines lines(part, made_ || parts_ > 1);
    const std::vector<int64_t> taps = lines.tap_offsets();
    const int64_t block = gradient_block(part, lines, made_);
    Scratch buffer(lines.buffer_size(block));
    Scratch row(x_.data() == nullptr ? g_.out_w * g_.c : 0);
    Scratch unwanted(dx_ == nullptr ? g_.out_w * g_.c : 0);
    float* const sum = sums_.data() + slot * size() + first * taps_;
    std::fill_n(sum, taps_ * part.c, 0.0F);
    const int64_t slot_end = std::min(g_.lines(), (slot + 1) * lines_per_slot(g_));
    for (int64_t begin = slot * lines_per_slot(g_); begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      fetch(lines, part, first, begin, end, buffer.data());
      for (int64_t line = begin; line < end; ++line) {
        const int64_t pixel = g_.out_pixel(line);
        const int64_t row_begin = pixel - g_.first_column;
        const float* x_row = x_.pixels(row_begin, row_begin + g_.out_w, g_.c, row.data());
        kernels().depthwise_gradients(
            {.pixels = g_.columns,
             .channels = part.c,
             .dy = lines.line(line),
             .dy_stride = lines.pixel_stride(),
             .taps = taps.data(),
             .tap_count = taps_,
             .w = w_.data() + first * taps_,
             .x = x_row + g_.first_column * g_.c + first,
             .x_stride = g_.step * g_.c,
             .dx = dx_ != nullptr ? dx_ + pixel * g_.c + first : unwanted.data(),
             .dw = sum});
      }
    }
  }

  // Channels [begin, end), which lie in one part.
  void merge(const ConvShape& s, int64_t begin, int64_t end, float* dw) {
    const int64_t first = begin / channels_ * channels_;
    const int64_t width = std::min(channels_, g_.c - first);
    for (int64_t t = 0; t < taps_; ++t) {
      float* const total = sums_.data() + first * taps_ + t * width + begin - first;
      add_slots(slots_, size(), end - begin, total);
      const Tap& tap = g_.taps[static_cast<size_t>(t)];
      for (int64_t c = begin; c < end; ++c)
        dw[(c * s.kh + tap.r) * s.kw + tap.s] = total[c - begin];
    }
  }

  const Gather& g_;
  Source x_, dy_;
  float* dx_;
  bool made_;
  int64_t taps_, slots_;
  int64_t channels_;  // of a part; a whole number of vectors but in the last one
  int64_t parts_;
  Scratch w_;     // of each part [taps, its channels]
  Scratch sums_;  // of each slot the same
};

}  // namespace

std::unique_ptr<PreparedConv> prepare_depthwise(const ConvShape& s, const ConvFilters& filters) {
  return std::make_unique<DepthwiseConv>(s, filters);
}

void depthwise_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                       float* y) {
  DepthwiseConv(s, {w, bias}).run(s.n, x, nullptr, y);
}

bool depthwise_reads_lines(const ConvShape& s) {
  const Gather g = gather_forward(s);
  const SourceLines geometry(g, true);
  return geometry.fits(geometry.lines_per_block(kTasks));
}

// Phases of a stride would each make dy again, and slots that are shorter than blocks the rows that
// they share.
bool depthwise_gradients_read_once(const ConvShape& s) {
  if (s.stride > 1) return false;
  const Gather g = gather_input_gradient(s).front();
  const SourceLines dy(g, true);
  const int64_t slot = lines_per_slot(g);
  const int64_t block = dy.lines_per_block(kMaxSlots);
  const bool of_images = block % g.rows == 0;
  return block <= slot && (!of_images || slot % g.rows == 0) &&
         dy.fits(gradient_block(g, dy, true));
}

void depthwise_input_gradient(const ConvShape& s, const float* dy, const float* w,
                              const float* bias, float* dx) {
  for (const Gather& g : gather_input_gradient(s))
    run(g, dy, pack(g, w, s).data(), bias, PointwiseKind::none, nullptr, dx);
}

void depthwise_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                         float* dx, float* dw) {
  std::fill_n(dw, s.c_out * s.kh * s.kw, 0.0F);  // of taps that no pixel is read through
  const std::vector<Gather> gathers = gather_input_gradient(s);
  std::deque<PhaseGradients> phases;
  int64_t tasks = 0;
  for (const Gather& g : gathers) {
    if (!g.taps.empty())
      tasks = std::max(tasks, phases.emplace_back(g, s, x, dy, w, dx).tasks());
    else if (dx != nullptr)
      run(g, dy, nullptr, nullptr, PointwiseKind::none, nullptr, dx);
  }
  // Phases take turns slot by slot: the lines of x, dy and dx that they share stay in the cache.
  parallel_for(tasks, [&](int64_t task) {
    for (PhaseGradients& phase : phases)
      if (task < phase.tasks()) phase.run(task);
  });
  for (PhaseGradients& phase : phases) phase.add(s, dw);
}

}  // namespace decant::cpu
