#include "engine/cpu/gemm.h"

#include <algorithm>
#include <optional>

#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {
namespace {

// Rows of c per task: enough to use each part of a panel often, few enough to share the work.
constexpr int64_t kRowBlock = 96;
constexpr int64_t kTasks = 32;

void pack(const Kernels& kernels, const Gemm& g, const Panels& panels, const float* b,
          float* packed) {
  parallel_for(panels.count(), [&](int64_t panel) {
    const int64_t first = panels.first(panel);
    const int64_t columns = panels.columns(panel);
    const int64_t width = panels.width(panel);
    float* out = packed + panels.offset(panel, g.k);
    if (g.transpose_b) {
      kernels.transpose({.rows = g.k,
                         .columns = columns,
                         .a = b + first * g.k,
                         .a_stride = g.k,
                         .b = out,
                         .b_stride = width,
                         .width = width});
      return;
    }
    for (int64_t k = 0; k < g.k; ++k, out += width) {
      std::copy_n(b + k * g.n + first, columns, out);
      std::fill(out + columns, out + width, 0.0F);
    }
  });
}

}  // namespace

void sgemm(const Gemm& g, const float* a, const float* b, float* c) {
  const Kernels& kernels = cpu::kernels();
  const Panels panels(kernels, g.n);
  Scratch packed(panels.packed_size(g.k));
  pack(kernels, g, panels, b, packed.data());
  std::optional<Scratch> bias;
  if (g.bias != nullptr) {
    bias.emplace(panels.padded_columns());
    std::fill_n(bias->data(), panels.padded_columns(), 0.0F);
    std::copy_n(g.bias, g.n, bias->data());
  }

  const int64_t row_blocks = ceil_div(g.m, kRowBlock);
  const int64_t panel_groups =
      std::min(panels.count(), ceil_div(kTasks, std::max<int64_t>(1, row_blocks)));
  const int64_t panels_per_task = ceil_div(panels.count(), std::max<int64_t>(1, panel_groups));
  parallel_for(row_blocks * panel_groups, [&](int64_t task) {
    const int64_t row = task / panel_groups * kRowBlock;
    const int64_t rows = std::min(kRowBlock, g.m - row);
    const int64_t begin = task % panel_groups * panels_per_task;
    const int64_t end = std::min(panels.count(), begin + panels_per_task);
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panels.first(panel);
      const int64_t width = panels.width(panel);
      const int64_t part = panel_part(g.k, width);
      Start start = g.accumulate ? Start::accumulate : bias ? Start::bias : Start::zero;
      for (int64_t k = 0; k == 0 || k < g.k; k += part) {
        const int64_t depth = std::min(part, g.k - k);
        const float* panel_b = packed.data() + panels.offset(panel, g.k) + k * width;
        float* tile = c + row * g.n + first;
        if (!g.transpose_a || start == Start::bias) {
          const Segment segment = {.offset = k, .length = g.transpose_a ? 0 : depth};
          kernels.rows({.rows = rows,
                        .columns = panels.columns(panel),
                        .a = a + (g.transpose_a ? 0 : row * g.k),
                        .a_stride = g.transpose_a ? 0 : g.k,
                        .segments = &segment,
                        .segment_count = 1,
                        .b = panel_b,
                        .width = width,
                        .start = start,
                        .bias = bias ? bias->data() + first : nullptr,
                        .c = tile,
                        .c_stride = g.n});
          start = Start::accumulate;
        }
        if (g.transpose_a) {
          const int64_t line = 0;
          kernels.outer({.rows = rows,
                         .columns = panels.columns(panel),
                         .a = a + k * g.m + row,
                         .a_stride = g.m,
                         .lines = &line,
                         .line_count = 1,
                         .pixels = depth,
                         .b = panel_b,
                         .b_stride = width,
                         .width = width,
                         .start = start,
                         .c = tile,
                         .c_stride = g.n});
          start = Start::accumulate;
        }
      }
    }
  });
}

}  // namespace decant::cpu
