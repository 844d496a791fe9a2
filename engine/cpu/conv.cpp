#include "engine/cpu/conv.h"

#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/prepared_conv.h"
#include "engine/cpu/winograd.h"

// Forward and input gradient. Work is cut into blocks of output lines, whose source lines fit the
// second-level cache (but for the deepest maps, see lines_per_block), times groups of weight
// panels. Within a block, a part of a panel stays in the first-level cache while all lines pass by.

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 32;      // enough to keep many threads busy
constexpr int64_t kMinTasks = 16;   // where lines are made, and so panels are not cut into groups
constexpr int64_t kMinPixels = 96;  // of a block, so that each part of a panel is used often

int64_t lines_per_block(const Gather& g, const SourceLines& source) {
  const int64_t enough = ceil_div(kMinPixels, g.columns);
  const int64_t shared = ceil_div(g.lines(), kTasks);
  const int64_t block = std::min(source.lines_in_cache(), std::max(enough, shared));
  // Of the deepest maps few lines fit: worse than a source beyond the cache are filters that are
  // read again for each block.
  return block < enough && source.fits(enough) ? enough : block;
}

// Output channels of all groups, and the panels that each group's are packed in.
struct Outputs {
  int64_t groups;
  int64_t channels;  // of a group
  Panels panels;
  int64_t depth;  // products of a sum

  int64_t count() const { return groups * panels.count(); }
  int64_t packed_size() const { return groups * panels.packed_size(depth); }
  int64_t offset(int64_t group, int64_t panel) const {
    return group * panels.packed_size(depth) + panels.offset(panel, depth);
  }
};

// Bias of each group, padded as the panels are.
void pad_bias(const Outputs& out, const float* bias, float* padded) {
  const int64_t width = out.panels.padded_columns();
  for (int64_t g = 0; g < out.groups; ++g) {
    std::copy_n(bias + g * out.channels, out.channels, padded + g * width);
    std::fill(padded + g * width + out.channels, padded + (g + 1) * width, 0.0F);
  }
}

// Packed filters with what follows them.
struct PackedFilters {
  Outputs out;
  Scratch packed;
  Scratch padded_bias;
  bool has_bias;
  PointwiseKind activation;

  PackedFilters(const Outputs& outputs, const ConvFilters& filters)
      : out(outputs),
        packed(std::max<int64_t>(1, out.packed_size())),
        padded_bias(out.groups * out.panels.padded_columns()),
        has_bias(filters.bias != nullptr),
        activation(filters.activation) {
    if (has_bias) pad_bias(out, filters.bias, padded_bias.data());
  }
};

void run(const Gather& g, const PackedFilters& filters, const Source& source, const float* residual,
         float* y) {
  const Kernels& kernels = cpu::kernels();
  const Outputs& out = filters.out;
  const SourceLines geometry(g, source.data() == nullptr);
  const int64_t source_channels = g.c / out.groups;
  const int64_t y_channels = out.groups * out.channels;
  const std::vector<Segment> segments = geometry.segments(source_channels);
  const int64_t block = lines_per_block(g, geometry);
  const int64_t blocks = ceil_div(g.lines(), block);
  // Each group fetches the lines: those that are made are made by one.
  const int64_t panel_groups =
      source.data() == nullptr ? 1 : std::min(out.count(), ceil_div(kTasks, blocks));
  const int64_t panels_per_task = ceil_div(out.count(), panel_groups);

  parallel_for(blocks * panel_groups, [&](int64_t task) {
    const int64_t begin = task / panel_groups * block;
    const int64_t end = std::min(g.lines(), begin + block);
    const int64_t first_panel = task % panel_groups * panels_per_task;
    const int64_t last_panel = std::min(out.count(), first_panel + panels_per_task);
    if (first_panel >= last_panel) return;
    SourceLines lines(geometry);
    Scratch buffer(lines.buffer_size(end - begin));
    lines.fetch(source, begin, end, buffer.data());

    for (int64_t i = first_panel; i < last_panel; ++i) {
      const int64_t group = i / out.panels.count();
      const int64_t panel = i % out.panels.count();
      const int64_t width = out.panels.width(panel);
      const int64_t part = panel_part(out.depth, width);
      for (int64_t k = 0; k == 0 || k < out.depth; k += part) {
        const std::vector<Segment> taken = cut(segments, k, k + part);
        RowsArgs args{};
        args.rows = g.columns;
        args.columns = out.panels.columns(panel);
        args.a_stride = lines.pixel_stride();
        args.segments = taken.data();
        args.segment_count = static_cast<int64_t>(taken.size());
        args.b = filters.packed.data() + out.offset(group, panel) + k * width;
        args.width = width;
        args.prefetch = lines.buffer_size(1) == 0;
        args.start = k > 0 ? Start::accumulate : filters.has_bias ? Start::bias : Start::zero;
        args.bias = filters.padded_bias.data() + group * out.panels.padded_columns() +
                    out.panels.first(panel);
        args.c_stride = g.step * y_channels;
        const int64_t channel = group * out.channels + out.panels.first(panel);
        const bool last_part = k + part >= out.depth;
        for (int64_t line = begin; line < end; ++line) {
          const int64_t first = g.out_pixel(line) * y_channels + channel;
          args.a = lines.line(line) + group * source_channels;
          args.c = y + first;
          kernels.rows(args);
          if (last_part)
            finish(filters.activation, at(residual, first), args.rows, args.columns, args.c,
                   args.c_stride);
        }
      }
    }
  });
}

// Weights lie as [c_out, depth], the panels hold [depth, c_out of a group].
void pack_forward(const Outputs& out, const float* w, float* packed) {
  const Kernels& kernels = cpu::kernels();
  parallel_for(out.count(), [&](int64_t i) {
    const int64_t group = i / out.panels.count();
    const int64_t panel = i % out.panels.count();
    kernels.transpose({.rows = out.depth,
                       .columns = out.panels.columns(panel),
                       .a = w + (group * out.channels + out.panels.first(panel)) * out.depth,
                       .a_stride = out.depth,
                       .b = packed + out.offset(group, panel),
                       .b_stride = out.panels.width(panel),
                       .width = out.panels.width(panel)});
  });
}

// Row (tap, o) of a panel holds w[o, tap, ..], which is contiguous.
void pack_input_gradient(const ConvShape& s, const Gather& g, const Outputs& out, const float* w,
                         float* packed) {
  const int64_t sources = s.c_out / s.groups;
  parallel_for(out.count(), [&](int64_t i) {
    const int64_t group = i / out.panels.count();
    const int64_t panel = i % out.panels.count();
    const int64_t columns = out.panels.columns(panel);
    const int64_t width = out.panels.width(panel);
    float* to = packed + out.offset(group, panel);
    for (const Tap& tap : g.taps) {
      for (int64_t o = group * sources; o < (group + 1) * sources; ++o, to += width) {
        const float* from =
            w + ((o * s.kh + tap.r) * s.kw + tap.s) * out.channels + out.panels.first(panel);
        std::copy_n(from, columns, to);
        std::fill(to + columns, to + width, 0.0F);
      }
    }
  });
}

Outputs forward_outputs(const ConvShape& s) {
  return {.groups = s.groups,
          .channels = s.c_out / s.groups,
          .panels = Panels(kernels(), s.c_out / s.groups),
          .depth = s.kh * s.kw * s.c_in / s.groups};
}

class DirectConv : public PreparedConv {
 public:
  DirectConv(const ConvShape& s, const ConvFilters& filters)
      : shape_(s), filters_(forward_outputs(s), filters) {
    pack_forward(filters_.out, filters.w, filters_.packed.data());
  }

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    run(n, in.x, in.residual, y);
  }
  void run(int64_t n, const Source& x, const float* residual, float* y) const {
    ConvShape s = shape_;
    s.n = n;
    cpu::run(gather_forward(merge_lines(s)), filters_, x, residual, y);
  }

 private:
  ConvShape shape_;
  PackedFilters filters_;
};

// Each phase of the input gradient has filters of its own.
class DirectConvTranspose : public PreparedConv {
 public:
  DirectConvTranspose(const ConvShape& s, const ConvFilters& filters) : shape_(s) {
    for (const Gather& g : gather_input_gradient(s)) {
      const auto taps = static_cast<int64_t>(g.taps.size());
      const Outputs out{.groups = s.groups,
                        .channels = s.c_in / s.groups,
                        .panels = Panels(kernels(), s.c_in / s.groups),
                        .depth = taps * s.c_out / s.groups};
      phases_.push_back(std::make_unique<PackedFilters>(out, filters));
      pack_input_gradient(s, g, out, filters.w, phases_.back()->packed.data());
    }
  }

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    ConvShape s = shape_;
    s.n = n;
    const std::vector<Gather> gathers = gather_input_gradient(merge_lines(s));
    for (size_t i = 0; i < gathers.size(); ++i)
      cpu::run(gathers[i], *phases_[i], in.x, in.residual, y);
  }

 private:
  ConvShape shape_;
  std::vector<std::unique_ptr<PackedFilters>> phases_;
};

}  // namespace

std::unique_ptr<PreparedConv> prepare_direct(const ConvShape& s, const ConvFilters& filters) {
  return std::make_unique<DirectConv>(s, filters);
}

void direct_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                    float* y) {
  DirectConv(s, {w, bias}).run(s.n, x, nullptr, y);
}

void direct_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                           float* dx) {
  DirectConvTranspose(s, {w, bias}).run(s.n, {dy}, dx);
}

namespace {

// Maps of few blocks are small: rather than by one group of panels they are made whole.
bool pointwise_reads_lines(const ConvShape& s) {
  if (!is_pointwise(s)) return false;
  const Gather g = gather_forward(merge_lines(s));
  const int64_t blocks = ceil_div(g.lines(), lines_per_block(g, SourceLines(g, true)));
  return blocks >= kMinTasks || forward_outputs(s).count() == 1;
}

bool has_depthwise_gradients(const ConvShape& s) {
  return algorithm_of(s, ConvPass::input_gradient) == ConvAlgorithm::depthwise;
}

}  // namespace

bool reads_lines(const ConvShape& s) {
  switch (algorithm_of(s, ConvPass::forward)) {
    case ConvAlgorithm::depthwise:
      return depthwise_reads_lines(s);
    case ConvAlgorithm::few_outputs:
      return few_outputs_reads_lines(s);
    case ConvAlgorithm::direct:
      return pointwise_reads_lines(s);
    case ConvAlgorithm::winograd:
      break;
  }
  return false;
}

bool gradients_in_one_pass(const ConvShape& s) {
  return has_depthwise_gradients(s) || has_pointwise_gradients(s);
}

bool gradients_read_once(const ConvShape& s) {
  return has_depthwise_gradients(s) ? depthwise_gradients_read_once(s) : has_pointwise_gradients(s);
}

void conv2d_forward(const ConvShape& s, const Source& x, const float* w, const float* bias,
                    float* y) {
  switch (algorithm_of(s, ConvPass::forward)) {
    case ConvAlgorithm::depthwise:
      return depthwise_forward(s, x, w, bias, y);
    case ConvAlgorithm::few_outputs:
      return few_outputs_forward(s, x, w, bias, y);
    case ConvAlgorithm::direct:
      return direct_forward(s, x, w, bias, y);
    case ConvAlgorithm::winograd:
      return winograd_forward(s, x.data(), w, bias, y);
  }
}

std::unique_ptr<PreparedConv> prepare_conv2d(const ConvShape& s, const ConvFilters& filters) {
  switch (algorithm_of(s, ConvPass::forward, s.n)) {
    case ConvAlgorithm::depthwise:
      return prepare_depthwise(s, filters);
    case ConvAlgorithm::few_outputs:
      return prepare_few_outputs(s, filters);
    case ConvAlgorithm::direct:
      break;
    case ConvAlgorithm::winograd:
      return prepare_winograd(s, filters);
  }
  return prepare_direct(s, filters);
}

std::unique_ptr<PreparedConv> prepare_conv_transpose2d(const ConvShape& s,
                                                       const ConvFilters& filters) {
  return std::make_unique<DirectConvTranspose>(s, filters);
}

void conv2d_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                           float* dx) {
  switch (algorithm_of(s, ConvPass::input_gradient)) {
    case ConvAlgorithm::depthwise:
      return depthwise_input_gradient(s, dy, w, bias, dx);
    case ConvAlgorithm::few_outputs:
    case ConvAlgorithm::direct:
      return direct_input_gradient(s, dy, w, bias, dx);
    case ConvAlgorithm::winograd:
      return winograd_input_gradient(s, dy, w, bias, dx);
  }
}

void conv2d_gradients(const ConvShape& s, const Source& x, const Source& dy, const float* w,
                      float* dx, float* dw) {
  if (dw != nullptr && gradients_in_one_pass(s)) {
    return has_pointwise_gradients(s) ? pointwise_gradients(s, x, dy, w, dx, dw)
                                      : depthwise_gradients(s, x, dy, w, dx, dw);
  }
  if (dx != nullptr) conv2d_input_gradient(s, dy.data(), w, nullptr, dx);
  if (dw != nullptr) conv2d_weight_gradient(s, x.data(), dy.data(), dw);
}

void conv2d_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw) {
  switch (algorithm_of(s, ConvPass::weight_gradient)) {
    case ConvAlgorithm::depthwise:
      return depthwise_gradients(s, x, dy, nullptr, nullptr, dw);
    case ConvAlgorithm::few_outputs:
      return few_outputs_weight_gradient(s, x, dy, dw);
    case ConvAlgorithm::direct:
      return direct_weight_gradient(s, x, dy, dw);
    case ConvAlgorithm::winograd:
      return winograd_weight_gradient(s, x, dy, dw);
  }
}

}  // namespace decant::cpu
