#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

// dw[o, k] is a sum over all pixels of source element k of the pixel's taps times dy[o]. Pixels are
// cut into slots, each with accumulators of its own that are merged in order, so that the result
// does not depend on threads. A task is one slot of some source elements k of some panels of output
// channels: slots are for many pixels, where there are few the rest is cut finer. It adds up a
// chunk of pixels at a time, whose dy stays in the first-level cache.

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 16;
constexpr int64_t kSlotPixels = 512;  // so that adding up dwarfs merging
constexpr int64_t kMaxAccumulators = 20'000'000 / sizeof(float);
constexpr int64_t kChunkPixels = 128;  // of packed dy: 32 KB of the first-level cache
constexpr int64_t kMostPixels = kChunkPixels + kChunkPixels / 2;  // rather than two small chunks
constexpr int64_t kMinDepth = 96;                                 // source elements of a task

// Where pixels lie far apart, the kernel is fed from a copy, some elements of all pixels after each
// other: a tile takes 24 bytes of each pixel, and lines of the cache so far apart fall into few of
// its sets, as a stream that no processor foresees. They are copied once for all panels of a task.
constexpr int64_t kFarApart = 256;
constexpr int64_t kNearRows = 24;   // 12 KB of a chunk, beside dy's 32
constexpr int64_t kMaxDepth = 512;  // 256 KB of a chunk, in the second-level cache
constexpr int64_t kNearGap = 16;    // between runs, lest they begin in the same set of the cache

// Floats of a copy of `depth` elements in so many segments.
int64_t near_size(int64_t depth, size_t segments) {
  const int64_t runs = depth / kNearRows + static_cast<int64_t>(segments);
  return kMostPixels * depth + runs * kNearGap;
}

// Lines in a buffer are a copy already.
bool lies_far_apart(const SourceLines& lines) {
  return lines.buffer_size(1) == 0 && lines.pixel_stride() >= kFarApart;
}

// Output pixels [begin, end) of each of some lines: all of a few short ones, or a piece of one.
struct Chunk {
  int64_t first_line, last_line;
  int64_t begin, end;

  int64_t line_pixels() const { return end - begin; }
  int64_t pixels() const { return (last_line - first_line) * line_pixels(); }
};

// What a task adds up: rows [first, first + depth of the segments) of some panels of dw.
struct Part {
  const Gather& g;
  std::vector<Segment> segments;
  int64_t group_offset;  // channels of x before the group
  const float* dy;       // the group's first channel
  int64_t channels;      // of dy, all groups
  Panels panels;
  int64_t first_panel, last_panel;
  float* sums;  // [depth, width] of each panel
  int64_t depth, first;
};

// The source elements of a chunk as the kernel takes them: runs of those that follow each other.
struct Run {
  int64_t rows;
  const float* x;
  int64_t stride;  // of pixels
};
struct Runs {
  std::vector<Run> runs;
  std::vector<int64_t> starts;  // of the chunk's lines, in each run
};

Runs runs_in_place(const Part& part, const SourceLines& lines, const Chunk& chunk) {
  const float* const line = lines.line(chunk.first_line);
  const float* const x = line + chunk.begin * lines.pixel_stride() + part.group_offset;
  Runs all;
  for (const Segment& s : part.segments)
    all.runs.push_back({.rows = s.length, .x = x + s.offset, .stride = lines.pixel_stride()});
  for (int64_t l = chunk.first_line; l < chunk.last_line; ++l)
    all.starts.push_back(lines.line(l) - line);
  return all;
}

// The same from a copy in `near`, which is made pixel by pixel: long streams are read.
Runs runs_copied(const Part& part, const SourceLines& lines, const Chunk& chunk, float* near) {
  Runs all{.runs = {}, .starts = {0}};  // in the copy all pixels are one line
  std::vector<int64_t> offsets;         // of each run in a pixel
  const float* x = near;
  for (const Segment& s : part.segments) {
    for (int64_t k = 0; k < s.length; k += kNearRows) {
      const int64_t rows = std::min(kNearRows, s.length - k);
      all.runs.push_back({.rows = rows, .x = x, .stride = rows});
      offsets.push_back(part.group_offset + s.offset + k);
      x += chunk.pixels() * rows + kNearGap;
    }
  }
  for (int64_t i = 0; i < chunk.pixels(); ++i) {
    const float* const pixel = lines.line(chunk.first_line + i / chunk.line_pixels()) +
                               (chunk.begin + i % chunk.line_pixels()) * lines.pixel_stride();
    float* to = near;  // of the run's first pixel
    for (size_t r = 0; r < offsets.size(); ++r) {
      const int64_t rows = all.runs[r].rows;
      if (rows == kNearRows)  // a number that the compiler knows needs no call
        std::copy_n(pixel + offsets[r], kNearRows, to + i * kNearRows);
      else
        std::copy_n(pixel + offsets[r], rows, to + i * rows);
      to += chunk.pixels() * rows + kNearGap;
    }
  }
  return all;
}

// `columns` channels of consecutive pixels of dy as rows of `width`, the rest zero.
void pack_pixels(const float* dy, int64_t pixels, int64_t channels, int64_t columns, int64_t width,
                 float* to) {
  for (int64_t i = 0; i < pixels; ++i, dy += channels, to += width) {
    std::copy_n(dy, columns, to);
    std::fill(to + columns, to + width, 0.0F);
  }
}

void add_chunk(const Part& part, const Runs& source, const Chunk& chunk, bool first,
               float* packed) {
  const auto lines = static_cast<int64_t>(source.starts.size());
  const float* const dy =
      part.dy + (part.g.out_pixel(chunk.first_line) + chunk.begin) * part.channels;
  for (int64_t panel = part.first_panel; panel < part.last_panel; ++panel) {
    const int64_t width = part.panels.width(panel);
    pack_pixels(dy + part.panels.first(panel), chunk.pixels(), part.channels,
                part.panels.columns(panel), width, packed);
    float* c = part.sums + part.panels.offset(panel, part.depth) + part.first * width;
    for (const Run& run : source.runs) {
      kernels().outer({.rows = run.rows,
                       .columns = width,
                       .a = run.x,
                       .a_stride = run.stride,
                       .lines = source.starts.data(),
                       .line_count = lines,
                       .pixels = chunk.pixels() / lines,
                       .b = packed,
                       .b_stride = width,
                       .width = width,
                       .start = first ? Start::zero : Start::accumulate,
                       .c = c,
                       .c_stride = width});
      c += run.rows * width;
    }
  }
}

// Lines [begin, end), which have been fetched.
void add_lines(const Part& part, const SourceLines& lines, int64_t begin, int64_t end, bool first,
               float* near, float* packed) {
  const int64_t columns = part.g.columns;
  const int64_t chunk_lines = std::max<int64_t>(1, kChunkPixels / columns);
  const int64_t pieces = ceil_div(columns, kMostPixels);
  const int64_t piece = ceil_div(columns, pieces);
  const bool far = lies_far_apart(lines);
  for (int64_t l = begin; l < end; l += chunk_lines) {
    for (int64_t j = 0; j < columns; j += piece) {
      const Chunk chunk = {.first_line = l,
                           .last_line = std::min(end, l + chunk_lines),
                           .begin = j,
                           .end = std::min(columns, j + piece)};
      add_chunk(part,
                far ? runs_copied(part, lines, chunk, near) : runs_in_place(part, lines, chunk),
                chunk, first, packed);
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
  const int64_t lines_per_slot =
      ceil_div(g.lines(), slots_for(g.lines(), g.lines() * g.columns, size));
  const int64_t slots = ceil_div(g.lines(), lines_per_slot);
  const bool far = lies_far_apart(geometry);
  const int64_t least_parts = far ? ceil_div(depth, kMaxDepth) : 1;
  const int64_t wanted_groups =
      std::clamp<int64_t>(kTasks / (slots * s.groups * least_parts), 1, panels.count());
  const int64_t group_panels = ceil_div(panels.count(), wanted_groups);
  const int64_t panel_groups = ceil_div(panels.count(), group_panels);
  const int64_t wanted_parts =
      std::min(ceil_div(kTasks, slots * s.groups * panel_groups), depth / kMinDepth);
  const int64_t part = ceil_div(depth, std::max(least_parts, wanted_parts));
  const int64_t parts = ceil_div(depth, part);
  Scratch sums(slots * size);

  parallel_for(slots * s.groups * panel_groups * parts, [&](int64_t task) {
    const int64_t first = task % parts * part;
    const int64_t first_panel = task / parts % panel_groups * group_panels;
    const int64_t group = task / parts / panel_groups % s.groups;
    const int64_t slot = task / parts / panel_groups / s.groups;
    const Part own{.g = g,
                   .segments = cut(segments, first, first + part),
                   .group_offset = group * (s.c_in / s.groups),
                   .dy = dy + group * channels,
                   .channels = s.c_out,
                   .panels = panels,
                   .first_panel = first_panel,
                   .last_panel = std::min(panels.count(), first_panel + group_panels),
                   .sums = sums.data() + slot * size + group * group_size,
                   .depth = depth,
                   .first = first};
    // Lines that are read in place need not fit a buffer.
    const int64_t block = geometry.buffer_size(1) == 0
                              ? lines_per_slot
                              : std::min(geometry.lines_in_cache(), lines_per_slot);
    SourceLines lines(geometry);
    Scratch buffer(lines.buffer_size(block));
    Scratch near(far ? near_size(part, own.segments.size()) : 0);
    Scratch packed(kMostPixels * kernels().max_width);
    const int64_t slot_begin = slot * lines_per_slot;
    const int64_t slot_end = std::min(g.lines(), slot_begin + lines_per_slot);
    for (int64_t begin = slot_begin; begin < slot_end; begin += block) {
      const int64_t end = std::min(slot_end, begin + block);
      lines.fetch(x, begin, end, buffer.data());
      add_lines(own, lines, begin, end, begin == slot_begin, near.data(), packed.data());
    }
  });

  // Merge the slots in order, a tile of dw at a time, turning [depth, width] into [c_out, depth].
  constexpr int64_t kMergeDepth = 128;
  const int64_t pieces = ceil_div(depth, kMergeDepth);
  parallel_for(s.groups * panels.count() * pieces, [&](int64_t task) {
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
