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

void transform_input(const Tiles& tiles, int64_t t, const float* image, float* to, int64_t stride,
                     void (*transform)(const WinogradArgs&)) {
  WinogradArgs args{};
  args.from = tiles.place(t, image, args);
  args.from_row_stride = tiles.w * tiles.channels;
  args.from_column_stride = tiles.channels;
  args.to = to;
  args.to_row_stride = kSeen * stride;
  args.to_column_stride = stride;
  transform(args);
}

void transform_output(const Tiles& tiles, int64_t t, int64_t first, int64_t channels,
                      const float* from, int64_t stride, const float* bias, float* image) {
  WinogradArgs args{};
  args.to = tiles.place(t, image, args) + first;
  args.channels = channels;
  args.to_row_stride = tiles.w * tiles.channels;
  args.to_column_stride = tiles.channels;
  args.from = from;
  args.from_row_stride = kSeen * stride;
  args.from_column_stride = stride;
  args.bias = bias;
  kernels().winograd_output(args);
}

// A convolution of 3x3 as both the forward pass and the input gradient are: `source` image, result.
struct Product {
  Tiles source, result;
  Panels panels;  // of the result's channels
  int64_t depth;  // channels of the source

  // Transformed weights: a packed panel [depth, width] for each point of each panel.
  int64_t u_stride(int64_t panel) const { return point_stride(depth * panels.width(panel)); }
  int64_t u_panel(int64_t panel) const {
    return kPoints * (panels.offset(panel, depth) + panel * point_stride(0));
  }
  int64_t u_size() const {
    return kPoints * (panels.packed_size(depth) + panels.count() * point_stride(0));
  }
};

Product product_of(int64_t n, int64_t h, int64_t w, int64_t c, int64_t ho, int64_t wo, int64_t k,
                   int64_t top, int64_t left) {
  const int64_t rows = ceil_div(ho, kTile);
  const int64_t columns = ceil_div(wo, kTile);
  return {.source = {n, h, w, c, rows, columns, top, left},
          .result = {n, ho, wo, k, rows, columns, 0, 0},
          .panels = Panels(kernels(), k),
          .depth = c};
}

// Tiles of a block: a product's rows; 36 of them for each of 36 points stay in the second-level
// cache with what is made of them.
constexpr int64_t kBlock = 36;
constexpr int64_t kTasks = 32;

void run(const Product& p, const float* image, const float* u, const float* bias, float* y) {
  const Kernels& kernels = cpu::kernels();
  const int64_t lanes = kernels.lanes;
  const int64_t tiles = p.source.count();
  const int64_t blocks = ceil_div(tiles, kBlock);
  const int64_t groups = std::min(p.panels.count(), ceil_div(kTasks, blocks));
  const int64_t panels_per_task = ceil_div(p.panels.count(), groups);
  parallel_for(blocks * groups, [&](int64_t task) {
    const int64_t begin = task / groups * kBlock;
    const int64_t count = std::min(kBlock, tiles - begin);
    const int64_t first_panel = task % groups * panels_per_task;
    const int64_t last_panel = std::min(p.panels.count(), first_panel + panels_per_task);
    if (first_panel >= last_panel) return;
    const int64_t v_row = ceil_div(p.depth, lanes) * lanes;
    const int64_t v_stride = point_stride(kBlock * v_row);
    Scratch v(kPoints * v_stride);
    for (int64_t t = 0; t < count; ++t)
      transform_input(p.source, begin + t, image, v.data() + t * v_row, v_stride,
                      kernels.winograd_input);

    const int64_t m_stride = point_stride(kBlock * kernels.max_width);
    Scratch m(kPoints * m_stride);
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      const int64_t width = p.panels.width(panel);
      const Segment all = {.offset = 0, .length = p.depth};
      for (int64_t point = 0; point < kPoints; ++point) {
        RowsArgs args{};
        args.rows = count;
        args.columns = width;
        args.a = v.data() + point * v_stride;
        args.a_stride = v_row;
        args.segments = &all;
        args.segment_count = 1;
        args.b = u + p.u_panel(panel) + point * p.u_stride(panel);
        args.width = width;
        args.start = Start::zero;
        args.c = m.data() + point * m_stride;
        args.c_stride = width;
        kernels.rows(args);
      }
      const int64_t first = p.panels.first(panel);
      for (int64_t t = 0; t < count; ++t)
        transform_output(p.result, begin + t, first, p.panels.columns(panel), m.data() + t * width,
                         m_stride, bias != nullptr ? bias + first : nullptr, y);
    }
  });
}

// Runs f with the bias padded to whole vectors, or null.
template <class F>
void with_padded(const float* bias, const Panels& panels, int64_t channels, const F& f) {
  if (bias == nullptr) return f(static_cast<const float*>(nullptr));
  Scratch padded(panels.padded_columns());
  std::fill(std::copy_n(bias, channels, padded.data()), padded.data() + panels.padded_columns(),
            0.0F);
  f(static_cast<const float*>(padded.data()));
}

// The filter of one pair of channels after the other, along the innermost extent of w.
void transform_weights(const float* w, int64_t tap_stride, int64_t channels, float* to,
                       int64_t stride) {
  WinogradArgs args{};
  args.channels = channels;
  args.from = w;
  args.from_row_stride = 3 * tap_stride;
  args.from_column_stride = tap_stride;
  args.row_end = args.column_end = 3;
  args.to = to;
  args.to_row_stride = kSeen * stride;
  args.to_column_stride = stride;
  kernels().winograd_weight(args);
}

}  // namespace

bool has_winograd(const ConvShape& s) {
  return s.kh == 3 && s.kw == 3 && s.stride == 1 && s.dilation == 1 && s.groups == 1;
}

void winograd_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                      float* y) {
  const Product p = product_of(s.n, s.h, s.w, s.c_in, s.ho, s.wo, s.c_out, s.top, s.left);
  const Panels& panels = p.panels;
  Scratch u(p.u_size());
  // A vector of input channels at a time, of all output channels of a panel: then they change
  // places.
  const int64_t lanes = kernels().lanes;
  const int64_t pieces = ceil_div(s.c_in, lanes);
  parallel_for(panels.count() * pieces, [&](int64_t task) {
    const int64_t panel = task / pieces;
    const int64_t c = task % pieces * lanes;
    const int64_t channels = std::min(lanes, s.c_in - c);
    const int64_t width = panels.width(panel);
    const int64_t columns = panels.columns(panel);
    const int64_t stride = point_stride(columns * lanes);
    Scratch rows(kPoints * stride);
    for (int64_t o = 0; o < columns; ++o)
      transform_weights(w + (panels.first(panel) + o) * 9 * s.c_in + c, s.c_in, channels,
                        rows.data() + o * lanes, stride);
    for (int64_t point = 0; point < kPoints; ++point)
      kernels().transpose({.rows = channels,
                           .columns = columns,
                           .a = rows.data() + point * stride,
                           .a_stride = lanes,
                           .b = u.data() + p.u_panel(panel) + point * p.u_stride(panel) + c * width,
                           .b_stride = width,
                           .width = width});
  });
  with_padded(bias, panels, s.c_out, [&](const float* padded) { run(p, x, u.data(), padded, y); });
}

// A forward pass from dy to dx with the filters turned by 180 degrees.
void winograd_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                             float* dx) {
  const Product p = product_of(s.n, s.ho, s.wo, s.c_out, s.h, s.w, s.c_in, 2 - s.top, 2 - s.left);
  const Panels& panels = p.panels;
  Scratch u(p.u_size());
  parallel_for(s.c_out, [&](int64_t o) {
    for (int64_t panel = 0; panel < panels.count(); ++panel) {
      const int64_t width = panels.width(panel);
      const float* last_tap = w + (o * 9 + 8) * s.c_in + panels.first(panel);
      transform_weights(last_tap, -s.c_in, panels.columns(panel),
                        u.data() + p.u_panel(panel) + o * width, p.u_stride(panel));
    }
  });
  with_padded(bias, panels, s.c_in, [&](const float* padded) { run(p, dy, u.data(), padded, dx); });
}

// dg = G^T ( sum over tiles of (A dy A^T) . (B^T d B) ) G: for each point a product c_out x tiles
// by tiles x c_in. Chunks of tiles are transformed, then added to the sums of all points, so that
// the order of a sum depends on nothing but the shape.
void winograd_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw) {
  constexpr int64_t kChunkFloats = 1 << 20;  // 4 MB for each side
  const Kernels& kernels = cpu::kernels();
  const Product p = product_of(s.n, s.h, s.w, s.c_in, s.ho, s.wo, s.c_out, s.top, s.left);
  const Panels panels(kernels, s.c_in);
  const int64_t depth = ceil_div(s.c_out, kernels.lanes) * kernels.lanes;
  const int64_t tiles = p.source.count();
  const int64_t most =
      std::max(kBlock, kChunkFloats / (kPoints * std::max(depth, panels.padded_columns())));
  const int64_t chunk = ceil_div(tiles, ceil_div(tiles, most));

  const int64_t z_stride = point_stride(chunk * depth);
  Scratch z(kPoints * z_stride);  // [point, tile, c_out]
  const int64_t v_stride = point_stride(panels.packed_size(chunk));
  Scratch v(kPoints * v_stride);  // [point, panel, tile, width]
  const int64_t sums_stride = point_stride(panels.packed_size(s.c_out));
  Scratch sums(kPoints * sums_stride);  // [point, panel, c_out, width]

  for (int64_t begin = 0; begin < tiles; begin += chunk) {
    const int64_t count = std::min(chunk, tiles - begin);
    parallel_for(count, [&](int64_t t) {
      transform_input(p.result, begin + t, dy, z.data() + t * depth, z_stride,
                      kernels.winograd_output_gradient);
      for (int64_t panel = 0; panel < panels.count(); ++panel) {
        WinogradArgs args{};
        args.from = p.source.place(begin + t, x, args) + panels.first(panel);
        args.channels = panels.columns(panel);
        args.from_row_stride = s.w * s.c_in;
        args.from_column_stride = s.c_in;
        args.to = v.data() + panels.offset(panel, chunk) + t * panels.width(panel);
        args.to_row_stride = kSeen * v_stride;
        args.to_column_stride = v_stride;
        kernels.winograd_input(args);
      }
    });
    parallel_for(kPoints * panels.count(), [&](int64_t task) {
      const int64_t point = task / panels.count();
      const int64_t panel = task % panels.count();
      const int64_t width = panels.width(panel);
      const int64_t line = 0;
      OuterArgs args{};
      args.rows = s.c_out;
      args.columns = width;
      args.a = z.data() + point * z_stride;
      args.a_stride = depth;
      args.lines = &line;
      args.line_count = 1;
      args.pixels = count;
      args.b = v.data() + point * v_stride + panels.offset(panel, chunk);
      args.width = width;
      args.start = begin == 0 ? Start::zero : Start::accumulate;
      args.c = sums.data() + point * sums_stride + panels.offset(panel, s.c_out);
      args.c_stride = width;
      kernels.outer(args);
    });
  }

  parallel_for(s.c_out, [&](int64_t o) {
    for (int64_t panel = 0; panel < panels.count(); ++panel) {
      WinogradArgs args{};
      args.channels = panels.columns(panel);
      args.from = sums.data() + panels.offset(panel, s.c_out) + o * panels.width(panel);
      args.from_row_stride = kSeen * sums_stride;
      args.from_column_stride = sums_stride;
      args.to = dw + o * 9 * s.c_in + panels.first(panel);
      args.to_row_stride = 3 * s.c_in;
      args.to_column_stride = s.c_in;
      args.row_end = args.column_end = 3;
      kernels.winograd_weight_gradient(args);
    }
  });
}

}  // namespace decant::cpu
