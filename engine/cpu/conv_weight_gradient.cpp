#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

// dw[o, k] is a sum over all pixels of source element k of the pixel's taps times dy[o]. Pixels are
// cut into slots, each with accumulators of its own that are merged in order, so that the result
// does not depend on threads. A task is one slot of some source elements k of one panel of output
// channels: slots are for many pixels, where there are few the outputs are cut finer.

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 16;
constexpr int64_t kSlotPixels = 512;  // so that adding up dwarfs merging
constexpr int64_t kMaxAccumulators = 20'000'000 / sizeof(float);
constexpr int64_t kChunkPixels = 128;  // of packed dy at a time: 32 KB of the first-level cache
constexpr int64_t kMinDepth = 96;      // source elements of a task

// Copies `columns` channels of `pixels` pixels of dy into rows of `width`, the rest zero.
float* pack_pixels(const float* dy, int64_t pixels, int64_t channels, int64_t columns,
                   int64_t width, float* to) {
  for (int64_t i = 0; i < pixels; ++i, dy += channels, to += width) {
    std::copy_n(dy, columns, to);
    std::fill(to + columns, to + width, 0.0F);
  }
  return to;
}

// Everything a task needs to know to add up its pixels.
struct Slot {
  const Gather& g;
  const float* x;
  const float* dy;
  int64_t channels;  // of dy, all groups
  int64_t columns, width;
  std::vector<Segment> segments;
  int64_t group_offset;  // channels of x before the group
  float* sum;            // [depth, width]
};

void add_pixels(const Slot& slot, SourceLines& lines, int64_t begin, int64_t end, float* buffer,
                float* packed, bool first) {
  const Kernels& kernels = cpu::kernels();
  const Gather& g = slot.g;
  lines.fetch(slot.x, begin, end, buffer);
  // A chunk is several short lines, or a piece of a long one.
  const int64_t chunk_lines = std::max<int64_t>(1, kChunkPixels / g.columns);
  const int64_t pieces = ceil_div(g.columns, kChunkPixels + kChunkPixels / 2);
  const int64_t piece = ceil_div(g.columns, pieces);
  for (int64_t l = begin; l < end; l += chunk_lines) {
    const int64_t last = std::min(end, l + chunk_lines);
    for (int64_t j = 0; j < g.columns; j += piece) {
      const int64_t pixels = std::min(piece, g.columns - j);
      std::vector<int64_t> starts;
      float* to = packed;
      for (int64_t line = l; line < last; ++line) {
        const float* dy = slot.dy + (g.out_pixel(line) + j) * slot.channels;
        to = pack_pixels(dy, pixels, slot.channels, slot.columns, slot.width, to);
        starts.push_back(lines.line(line) - lines.line(l));
      }
      OuterArgs args{};
      args.columns = slot.width;
      args.a_stride = lines.pixel_stride();
      args.lines = starts.data();
      args.line_count = last - l;
      args.pixels = pixels;
      args.b = packed;
      args.b_stride = slot.width;
      args.width = slot.width;
      args.start = first ? Start::zero : Start::accumulate;
      args.c = slot.sum;
      args.c_stride = slot.width;
      const float* a = lines.line(l) + j * lines.pixel_stride() + slot.group_offset;
      for (const Segment& s : slot.segments) {
        args.rows = s.length;
        args.a = a + s.offset;
        kernels.outer(args);
        args.c += s.length * slot.width;
      }
      first = false;
    }
  }
}

}  // namespace

int64_t slots_for(int64_t units, int64_t pixels, int64_t accumulators) {
  const int64_t wanted = std::min({kMaxSlots, ceil_div(pixels, kSlotPixels), units});
  return std::clamp<int64_t>(kMaxAccumulators / accumulators, 1, wanted);
}

void add_slots(int64_t slots, int64_t size, int64_t count, float* total) {
  for (int64_t slot = 1; slot < slots; ++slot) {
    const float* other = total + slot * size;
    for (int64_t i = 0; i < count; ++i) total[i] += other[i];
  }
}

void direct_weight_gradient(const ConvShape& shape, const float* x, const float* dy, float* dw) {
  const ConvShape s = merge_lines(shape);
  const Gather g = gather_forward(s);
  const SourceLines geometry(g);
  const int64_t channels = s.c_out / s.groups;
  const int64_t depth = s.kh * s.kw * s.c_in / s.groups;
  const Panels panels(kernels(), channels);
  const std::vector<Segment> segments = geometry.segments(s.c_in / s.groups);
  const int64_t group_size = panels.packed_size(depth);
  const int64_t size = s.groups * group_size;
  const int64_t panel_count = s.groups * panels.count();
  const int64_t lines_per_slot =
      ceil_div(g.lines(), slots_for(g.lines(), g.lines() * g.columns, size));
  const int64_t slots = ceil_div(g.lines(), lines_per_slot);
  const int64_t wanted_parts = std::min(ceil_div(kTasks, slots * panel_count), depth / kMinDepth);
  const int64_t part = ceil_div(depth, std::max<int64_t>(1, wanted_parts));
  const int64_t parts = ceil_div(depth, part);
  Scratch sums(slots * size);

  parallel_for(slots * panel_count * parts, [&](int64_t task) {
    const int64_t slot = task / parts / panel_count;
    const int64_t group = task / parts % panel_count / panels.count();
    const int64_t panel = task / parts % panels.count();
    const int64_t first = task % parts * part;
    const int64_t width = panels.width(panel);
    const Slot adder{.g = g,
                     .x = x,
                     .dy = dy + group * channels + panels.first(panel),
                     .channels = s.c_out,
                     .columns = panels.columns(panel),
                     .width = width,
                     .segments = cut(segments, first, first + part),
                     .group_offset = group * (s.c_in / s.groups),
                     .sum = sums.data() + slot * size + group * group_size +
                            panels.offset(panel, depth) + first * width};
    const int64_t block = std::min(geometry.lines_in_cache(), lines_per_slot);
    SourceLines lines(geometry);
    Scratch buffer(lines.buffer_size(block));
    const int64_t chunk = std::max(kChunkPixels, g.columns) + kChunkPixels;
    Scratch packed(chunk * width);
    const int64_t slot_begin = slot * lines_per_slot;
    const int64_t slot_end = std::min(g.lines(), slot_begin + lines_per_slot);
    for (int64_t begin = slot_begin; begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      add_pixels(adder, lines, begin, end, buffer.data(), packed.data(), begin == slot_begin);
    }
  });

  // Merge the slots in order, a tile of dw at a time, turning [depth, width] into [c_out, depth].
  constexpr int64_t kMergeDepth = 128;
  const int64_t pieces = ceil_div(depth, kMergeDepth);
  parallel_for(panel_count * pieces, [&](int64_t task) {
    const int64_t group = task / pieces / panels.count();
    const int64_t panel = task / pieces % panels.count();
    const int64_t width = panels.width(panel);
    const int64_t begin = task % pieces * kMergeDepth;
    const int64_t rows = std::min(depth, begin + kMergeDepth) - begin;
    float* total = sums.data() + group * group_size + panels.offset(panel, depth) + begin * width;
    add_slots(slots, size, rows * width, total);
    kernels().transpose({.rows = panels.columns(panel),
                         .columns = rows,
                         .a = total,
                         .a_stride = width,
                         .b = dw + (group * channels + panels.first(panel)) * depth + begin,
                         .b_stride = depth,
                         .width = rows});
  });
}

}  // namespace decant::cpu
