#include "engine/cpu/winograd.h"

#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"

namespace decant::cpu {
namespace {

constexpr int64_t kPoints = 36;  // elements of a transformed tile
constexpr int64_t kTile = 4;     // results per side
constexpr int64_t kSeen = 6;     // pixels per side that they see

// Images cut into tiles of 4 x 4 results, counted through all images.
struct Tiles {
  int64_t n, h, w, channels;  // of the image that is read or written
  int64_t rows, columns;      // tiles of an image
  int64_t top, left;          // of the tile's first pixel, beyond the tile's first result
  int64_t count() const { return n * rows * columns; }

  // Points the args' clipped side at tile t.
  template <class Pointer>
  Pointer place(int64_t t, Pointer image, WinogradArgs& args) const {
    const int64_t row = t / columns % rows * kTile - top;
    const int64_t column = t % columns * kTile - left;
    args.channels = channels;
    args.row_begin = -row;
    args.row_end = h - row;
    args.column_begin = -column;
    args.column_end = w - column;
    return image + (((t / (rows * columns)) * h + row) * w + column) * channels;
  }
};

// From the matrix of one point to that of the next, in floats: a cache line more than its size. A
// tile is written to 36 matrices at once; were they a power of two apart, as channels mostly are,
// all 36 places would fight for the same few lines of the cache.
int64_t point_stride(int64_t size) {
  return size + 16;
}

// 3x3 filters, from the channels of a source image to those of a result.
struct Filters {
  int64_t depth;  // channels of the source
  Panels panels;  // of the result's channels
  // The filters of source channel c: tap t, result channels [first, ..) at
  //   values[c * channel_stride + t * tap_stride + first]
  const float* values;
  int64_t channel_stride, tap_stride;
};

// What follows the sums. bias: null, or padded to whole panels.
struct Finish {
  const float* bias = nullptr;
  const float* residual = nullptr;
  PointwiseKind activation = PointwiseKind::none;
};

// A task multiplies a group of tiles by a panel of filters, a part of the source's channels after
// the other, so that its three operands (v: tiles, u: filters, m: results) stay in the second-level
// cache: each has 36 matrices of at most 64 x 64 floats with AVX-512.
constexpr int64_t kGroup = 64;  // tiles
constexpr int64_t kPart = 64;   // source channels
// Floats of transformed filters that are kept, where the others are made by each task for itself:
// as many as stay in the cache from task to task, and, of filters that stand, as memory reads
// faster than the transform makes them.
constexpr int64_t kKeptFilters = 1 << 18;
constexpr int64_t kStandingFilters = 1 << 20;
constexpr int64_t kSharedTiles = 1 << 21;  // floats of tiles that all panels of filters read

// Of the weight gradient, in floats where nothing else is said.
constexpr int64_t kManySums = 1 << 19;
constexpr int64_t kMaxTiles = 6 << 20;  // transformed, of x and dy together
constexpr int64_t kChunk = 1 << 19;     // of them at a time where there are few weights
constexpr int64_t kOutputs = 32;        // output channels of a task where there are many

// How the filters are cut for the tasks: panels of the result's channels, parts of the source's.
struct Cut {
  int64_t part, parts;
  int64_t u_stride;  // from point to point of a part's transformed filters

  explicit Cut(const Filters& f) {
    const int64_t lanes = kernels().lanes;
    part = std::min(kPart, ceil_div(f.depth, lanes) * lanes);
    parts = ceil_div(f.depth, part);
    u_stride = point_stride(part * kernels().max_width);
  }
  int64_t channels(const Filters& f, int64_t i) const { return std::min(part, f.depth - i * part); }
};

// The filters of part i and of one panel: [point, channel, width].
void transform_filters(const Filters& f, const Cut& cut, int64_t i, int64_t panel, float* u) {
  const int64_t width = f.panels.width(panel);
  WinogradArgs args{};
  args.channels = f.panels.columns(panel);
  args.from_row_stride = 3 * f.tap_stride;
  args.from_column_stride = f.tap_stride;
  args.row_end = args.column_end = 3;
  args.to_row_stride = kSeen * cut.u_stride;
  args.to_column_stride = cut.u_stride;
  for (int64_t c = 0; c < cut.channels(f, i); ++c) {
    args.from = f.values + (i * cut.part + c) * f.channel_stride + f.panels.first(panel);
    args.to = u + c * width;
    kernels().winograd_weight(args);
  }
}

// All of them, [panel, part, point, channel, width], where they are at most `most` floats.
class KeptFilters {
 public:
  KeptFilters(const Filters& f, const Cut& cut, int64_t most)
      : parts_(cut.parts),
        size_(kPoints * cut.u_stride),
        kept_(f.panels.count() * cut.parts * size_ <= most),
        u_(kept_ ? f.panels.count() * cut.parts * size_ : 1) {
    if (!kept_) return;
    parallel_for(f.panels.count() * parts_, [&](int64_t i) {
      transform_filters(f, cut, i % parts_, i / parts_, u_.data() + i * size_);
    });
  }

  bool kept() const { return kept_; }
  const float* of(int64_t panel, int64_t part) const {
    return u_.data() + (panel * parts_ + part) * size_;
  }

 private:
  int64_t parts_, size_;
  bool kept_;
  Scratch u_;
};

// Tiles [begin, end) of channels [first, first + channels): [point, tile, channel], the channels
// filled up with zeros to whole vectors.
void transform_tiles(const Tiles& tiles, int64_t begin, int64_t end, int64_t first,
                     int64_t channels, const float* image, float* v, int64_t v_row,
                     int64_t v_stride, void (*transform)(const WinogradArgs&)) {
  for (int64_t t = begin; t < end; ++t) {
    WinogradArgs args{};
    args.from = tiles.place(t, image, args) + first;
    args.channels = channels;
    args.from_row_stride = tiles.w * tiles.channels;
    args.from_column_stride = tiles.channels;
    args.to = v + (t - begin) * v_row;
    args.to_row_stride = kSeen * v_stride;
    args.to_column_stride = v_stride;
    transform(args);
  }
}

void transform_results(const Tiles& tiles, int64_t begin, int64_t end, int64_t first,
                       int64_t channels, const float* m, int64_t m_row, int64_t m_stride,
                       const Finish& finish, float* image) {
  for (int64_t t = begin; t < end; ++t) {
    WinogradArgs args{};
    args.to = tiles.place(t, image, args) + first;
    args.channels = channels;
    args.to_row_stride = tiles.w * tiles.channels;
    args.to_column_stride = tiles.channels;
    args.from = m + (t - begin) * m_row;
    args.from_row_stride = kSeen * m_stride;
    args.from_column_stride = m_stride;
    if (finish.bias != nullptr) args.bias = finish.bias + first;
    if (finish.residual != nullptr) args.residual = finish.residual + (args.to - image);
    args.activation = finish.activation;
    kernels().winograd_output(args);
  }
}

void run(const Tiles& source, const Tiles& result, const Filters& f, const Cut& cut,
         const KeptFilters& kept, const float* image, const Finish& finish, float* y) {
  const Kernels& kernels = cpu::kernels();
  const auto [part, parts, u_stride] = cut;
  const int64_t tiles = source.count();
  const int64_t panels = f.panels.count();
  const int64_t m_stride = point_stride(kGroup * kernels.max_width);

  // Tiles that several panels read are transformed once for all of them, a chunk of tiles at a
  // time.
  const bool share_tiles = panels > 1;
  const int64_t most =
      share_tiles ? std::max(kGroup, kSharedTiles / (kPoints * parts * part)) : tiles;
  const int64_t chunk = ceil_div(tiles, ceil_div(tiles, most));
  const int64_t group = ceil_div(chunk, ceil_div(chunk, kGroup));
  const int64_t groups = ceil_div(chunk, group);
  const int64_t v_stride = point_stride(group * part);
  Scratch shared_v(share_tiles ? groups * parts * kPoints * v_stride : 1);

  for (int64_t first = 0; first < tiles; first += chunk) {
    const int64_t last = std::min(tiles, first + chunk);
    const auto transform_group = [&](int64_t g, int64_t i, float* v) {
      const int64_t begin = first + g * group;
      transform_tiles(source, begin, std::min(last, begin + group), i * part, cut.channels(f, i),
                      image, v, part, v_stride, kernels.winograd_input);
    };
    if (share_tiles)
      parallel_for(groups * parts, [&](int64_t i) {
        transform_group(i / parts, i % parts, shared_v.data() + i * kPoints * v_stride);
      });
    parallel_for(groups * panels, [&](int64_t task) {
      const int64_t g = task / panels;
      const int64_t panel = task % panels;
      const int64_t begin = first + g * group;
      const int64_t end = std::min(last, begin + group);
      if (begin >= end) return;
      const int64_t width = f.panels.width(panel);
      Scratch own_v(share_tiles ? 1 : kPoints * v_stride);
      Scratch own_u(kept.kept() ? 1 : kPoints * u_stride);
      Scratch m(kPoints * m_stride);
      for (int64_t i = 0; i < parts; ++i) {
        const float* v =
            share_tiles ? shared_v.data() + (g * parts + i) * kPoints * v_stride : own_v.data();
        const float* u = kept.kept() ? kept.of(panel, i) : own_u.data();
        if (!share_tiles) transform_group(g, i, own_v.data());
        if (!kept.kept()) transform_filters(f, cut, i, panel, own_u.data());
        const Segment all = {.offset = 0, .length = cut.channels(f, i)};
        for (int64_t point = 0; point < kPoints; ++point)
          kernels.rows({.rows = end - begin,
                        .columns = width,
                        .a = v + point * v_stride,
                        .a_stride = part,
                        .segments = &all,
                        .segment_count = 1,
                        .b = u + point * u_stride,
                        .width = width,
                        .start = i == 0 ? Start::zero : Start::accumulate,
                        .bias = nullptr,
                        .c = m.data() + point * m_stride,
                        .c_stride = width});
      }
      transform_results(result, begin, end, f.panels.first(panel), f.panels.columns(panel),
                        m.data(), width, m_stride, finish, y);
    });
  }
}

// The bias padded to whole vectors.
Scratch padded(const float* bias, const Panels& panels, int64_t channels) {
  Scratch out(panels.padded_columns());
  float* end = out.data();
  if (bias != nullptr) end = std::copy_n(bias, channels, end);
  std::fill(end, out.data() + panels.padded_columns(), 0.0F);
  return out;
}

// w [c_out, tap, c_in] turned to [tap, c_in, c_out]: filters of one input channel lie together.
Scratch turned(const ConvShape& s, const float* w) {
  Scratch filters(9 * s.c_in * s.c_out);
  const int64_t lanes = kernels().lanes;
  parallel_for(ceil_div(s.c_out, lanes), [&](int64_t piece) {
    const int64_t o = piece * lanes;
    const int64_t count = std::min(lanes, s.c_out - o);
    kernels().transpose({.rows = 9 * s.c_in,
                         .columns = count,
                         .a = w + o * 9 * s.c_in,
                         .a_stride = 9 * s.c_in,
                         .b = filters.data() + o,
                         .b_stride = s.c_out,
                         .width = count});
  });
  return filters;
}

class WinogradConv : public PreparedConv {
 public:
  WinogradConv(const ConvShape& s, const ConvFilters& filters, int64_t most_kept)
      : shape_(s),
        turned_(turned(s, filters.w)),
        filters_{.depth = s.c_in,
                 .panels = Panels(kernels(), s.c_out),
                 .values = turned_.data(),
                 .channel_stride = s.c_out,
                 .tap_stride = s.c_in * s.c_out},
        cut_(filters_),
        kept_(filters_, cut_, most_kept),
        bias_(padded(filters.bias, filters_.panels, s.c_out)),
        activation_(filters.activation) {}

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    const ConvShape& s = shape_;
    const int64_t rows = ceil_div(s.ho, kTile);
    const int64_t columns = ceil_div(s.wo, kTile);
    const Tiles source = {n, s.h, s.w, s.c_in, rows, columns, s.top, s.left};
    const Tiles result = {n, s.ho, s.wo, s.c_out, rows, columns, 0, 0};
    cpu::run(source, result, filters_, cut_, kept_, in.x, {bias_.data(), in.residual, activation_},
             y);
  }

 private:
  ConvShape shape_;
  Scratch turned_;
  Filters filters_;
  Cut cut_;
  KeptFilters kept_;
  Scratch bias_;
  PointwiseKind activation_;
};

}  // namespace

bool has_winograd(const ConvShape& s) {
  return s.kh == 3 && s.kw == 3 && s.stride == 1 && s.dilation == 1 && s.groups == 1;
}

void winograd_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                      float* y) {
  WinogradConv(s, {w, bias}, kKeptFilters).run(s.n, {x}, y);
}

std::unique_ptr<PreparedConv> prepare_winograd(const ConvShape& s, const ConvFilters& filters) {
  return std::make_unique<WinogradConv>(s, filters, kStandingFilters);
}

// A forward pass from dy to dx with the filters turned by 180 degrees: taps from the last to the
// first. w [c_out, tap, c_in] has the filters of one channel of dy together.
void winograd_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                             float* dx) {
  const int64_t rows = ceil_div(s.h, kTile);
  const int64_t columns = ceil_div(s.w, kTile);
  const Tiles source = {s.n, s.ho, s.wo, s.c_out, rows, columns, 2 - s.top, 2 - s.left};
  const Tiles result = {s.n, s.h, s.w, s.c_in, rows, columns, 0, 0};
  const Filters filters = {.depth = s.c_out,
                           .panels = Panels(kernels(), s.c_in),
                           .values = w + 8 * s.c_in,
                           .channel_stride = 9 * s.c_in,
                           .tap_stride = -s.c_in};
  const Cut cut(filters);
  const Scratch padded_bias = padded(bias, filters.panels, s.c_in);
  run(source, result, filters, cut, KeptFilters(filters, cut, kKeptFilters), dy,
      {.bias = padded_bias.data()}, dx);
}

// dg = G^T ( sum over tiles of (A dy A^T) . (B^T d B) ) G: for each point a product c_out x tiles
// by tiles x c_in. Chunks of tiles are transformed and their products added up in order, so that a
// sum depends on nothing but the shape.
void winograd_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw) {
  const Kernels& kernels = cpu::kernels();
  const int64_t rows = ceil_div(s.ho, kTile);
  const int64_t columns = ceil_div(s.wo, kTile);
  const Tiles source = {s.n, s.h, s.w, s.c_in, rows, columns, s.top, s.left};
  const Tiles result = {s.n, s.ho, s.wo, s.c_out, rows, columns, 0, 0};
  const Panels panels(kernels, s.c_in);
  const int64_t depth = ceil_div(s.c_out, kernels.lanes) * kernels.lanes;
  const int64_t tiles = source.count();
  const int64_t tile_floats = kPoints * (depth + panels.padded_columns());

  // Many weights, few tiles: the sums are much larger than the tiles, and each block of them is
  // finished while it is in the cache. Else they are added to chunk by chunk.
  const bool many_weights =
      kPoints * depth * panels.padded_columns() > kManySums && tiles * tile_floats <= kMaxTiles;
  const int64_t most = many_weights ? tiles : std::max(kGroup, kChunk / tile_floats);
  const int64_t chunk = ceil_div(tiles, ceil_div(tiles, most));
  const int64_t z_stride = point_stride(chunk * depth);
  Scratch z(kPoints * z_stride);  // [point, tile, c_out]
  const int64_t v_stride = point_stride(panels.packed_size(chunk));
  Scratch v(kPoints * v_stride);  // [point, panel, tile, width]
  const auto transform = [&](int64_t begin, int64_t count) {
    parallel_for(count, [&](int64_t i) {
      const int64_t t = begin + i;
      transform_tiles(result, t, t + 1, 0, s.c_out, dy, z.data() + i * depth, depth, z_stride,
                      kernels.winograd_output_gradient);
      for (int64_t panel = 0; panel < panels.count(); ++panel) {
        const int64_t width = panels.width(panel);
        transform_tiles(source, t, t + 1, panels.first(panel), panels.columns(panel), x,
                        v.data() + panels.offset(panel, chunk) + i * width, width, v_stride,
                        kernels.winograd_input);
      }
    });
  };
  // Sums of one point for output channels [first, first + count) and one panel of input channels.
  const auto multiply = [&](int64_t point, int64_t first, int64_t count, int64_t panel,
                            int64_t pixels, Start start, float* sums) {
    const int64_t line = 0;
    const int64_t width = panels.width(panel);
    kernels.outer({.rows = count,
                   .columns = width,
                   .a = z.data() + point * z_stride + first,
                   .a_stride = depth,
                   .lines = &line,
                   .line_count = 1,
                   .pixels = pixels,
                   .b = v.data() + point * v_stride + panels.offset(panel, chunk),
                   .b_stride = width,
                   .width = width,
                   .start = start,
                   .c = sums,
                   .c_stride = width});
  };
  const auto finish = [&](int64_t first, int64_t count, int64_t panel, const float* sums,
                          int64_t stride) {
    WinogradArgs args{};
    args.channels = panels.columns(panel);
    args.from_row_stride = kSeen * stride;
    args.from_column_stride = stride;
    args.to_row_stride = 3 * s.c_in;
    args.to_column_stride = s.c_in;
    args.row_end = args.column_end = 3;
    for (int64_t o = 0; o < count; ++o) {
      args.from = sums + o * panels.width(panel);
      args.to = dw + (first + o) * 9 * s.c_in + panels.first(panel);
      kernels.winograd_weight_gradient(args);
    }
  };

  if (many_weights) {
    transform(0, tiles);
    parallel_for(ceil_div(s.c_out, kOutputs) * panels.count(), [&](int64_t task) {
      const int64_t first = task / panels.count() * kOutputs;
      const int64_t count = std::min(kOutputs, s.c_out - first);
      const int64_t panel = task % panels.count();
      const int64_t stride = point_stride(kOutputs * panels.width(panel));
      Scratch sums(kPoints * stride);
      for (int64_t point = 0; point < kPoints; ++point)
        multiply(point, first, count, panel, tiles, Start::zero, sums.data() + point * stride);
      finish(first, count, panel, sums.data(), stride);
    });
    return;
  }

  const int64_t stride = point_stride(panels.packed_size(s.c_out));
  Scratch sums(kPoints * stride);  // [point, panel, c_out, width]
  for (int64_t begin = 0; begin < tiles; begin += chunk) {
    const int64_t count = std::min(chunk, tiles - begin);
    transform(begin, count);
    parallel_for(kPoints * panels.count(), [&](int64_t task) {
      const int64_t point = task / panels.count();
      const int64_t panel = task % panels.count();
      multiply(point, 0, s.c_out, panel, count, begin == 0 ? Start::zero : Start::accumulate,
               sums.data() + point * stride + panels.offset(panel, s.c_out));
    });
  }
  parallel_for(panels.count() * s.c_out, [&](int64_t i) {
    const int64_t panel = i / s.c_out;
    const int64_t o = i % s.c_out;
    finish(o, 1, panel, sums.data() + panels.offset(panel, s.c_out) + o * panels.width(panel),
           stride);
  });
}

}  // namespace decant::cpu
