#include "engine/cpu/gather.h"

#include <algorithm>

namespace decant::cpu {
namespace {

constexpr int64_t kCacheFloats =
    int64_t{96} * 1024;  // 384 KB of a second-level cache of 512 KB or more
constexpr int64_t kMaxMadeFloats = 4 * kCacheFloats;  // of each thread

// floor(a / b) for b > 0.
int64_t floor_div(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

}  // namespace

Gather gather_forward(const ConvShape& s) {
  Gather g{.n = s.n,
           .h = s.h,
           .w = s.w,
           .c = s.c_in,
           .stride = s.stride,
           .taps = {},
           .rows = s.ho,
           .columns = s.wo,
           .out_h = s.ho,
           .out_w = s.wo};
  for (int64_t r = 0; r < s.kh; ++r)
    for (int64_t t = 0; t < s.kw; ++t)
      g.taps.push_back({r * s.dilation - s.top, t * s.dilation - s.left, r, t});
  return g;
}

// x[h] contributes to y[o] through r where o stride + r dilation - top = h. The rows h of phase p
// are p + i stride, so those r that make p + top - r dilation a multiple of the stride read
// o = i + (p + top - r dilation) / stride.
std::vector<Gather> gather_input_gradient(const ConvShape& s) {
  std::vector<Gather> phases;
  for (int64_t p = 0; p < std::min(s.stride, s.h); ++p) {
    for (int64_t q = 0; q < std::min(s.stride, s.w); ++q) {
      Gather g{.n = s.n,
               .h = s.ho,
               .w = s.wo,
               .c = s.c_out,
               .stride = 1,
               .taps = {},
               .rows = ceil_div(s.h - p, s.stride),
               .columns = ceil_div(s.w - q, s.stride),
               .out_h = s.h,
               .out_w = s.w,
               .first_row = p,
               .first_column = q,
               .step = s.stride};
      for (int64_t r = s.kh - 1; r >= 0; --r) {  // downwards: taps in order of rows
        const int64_t row = p + s.top - r * s.dilation;
        if (row % s.stride != 0) continue;
        for (int64_t t = s.kw - 1; t >= 0; --t) {
          const int64_t column = q + s.left - t * s.dilation;
          if (column % s.stride != 0) continue;
          g.taps.push_back({floor_div(row, s.stride), floor_div(column, s.stride), r, t});
        }
      }
      phases.push_back(std::move(g));
    }
  }
  return phases;
}

bool maps_pixels(const ConvShape& s) {
  return s.kh == 1 && s.kw == 1 && s.stride == 1 && s.top == 0 && s.left == 0 && s.ho == s.h &&
         s.wo == s.w;
}

ConvShape merge_lines(ConvShape s) {
  if (!maps_pixels(s)) return s;
  int64_t lines = s.n * s.h;
  int64_t pixels = s.w;
  while (pixels < 96 && lines % 2 == 0) {
    pixels *= 2;
    lines /= 2;
  }
  s.n = 1;
  s.h = s.ho = lines;
  s.w = s.wo = pixels;
  return s;
}

SourceLines::SourceLines(const Gather& g, bool buffered) : g_(&g), buffered_(buffered) {
  if (g.taps.empty()) {
    direct_ = true;
    row_pixels_ = g.w;
    return;
  }
  const auto [low, high] = std::ranges::minmax_element(g.taps, {}, &Tap::row);
  const auto [left, right] = std::ranges::minmax_element(g.taps, {}, &Tap::column);
  min_row_ = low->row;
  min_column_ = left->column;
  row_span_ = high->row - low->row + 1;
  row_pixels_ = (g.columns - 1) * g.stride + right->column - left->column + 1;
  direct_ = !buffered && min_row_ >= 0 && (g.rows - 1) * g.stride + high->row < g.h &&
            min_column_ >= 0 && (g.columns - 1) * g.stride + right->column < g.w;
  if (direct_) row_pixels_ = g.w;
}

int64_t SourceLines::buffer_size(int64_t lines) const {
  if (direct_) return 0;
  // Lines of one image share rows, lines of different images do not: either may need more rows.
  const int64_t images = std::min(lines, 1 + ceil_div(lines, g_->rows));
  const int64_t apart = (lines - images) * g_->stride + images * row_span_;
  return std::max(rows_of(lines), apart) * row_pixels_ * g_->c;
}

int64_t SourceLines::lines_in_cache() const {
  const int64_t row = row_pixels_ * g_->c;
  // Lines of one image share rows; of small images, each brings its own.
  const int64_t per_line = g_->rows > 1 ? g_->stride * row : row_span_ * row;
  return std::max<int64_t>(1, (kCacheFloats - row_span_ * row) / std::max<int64_t>(1, per_line));
}

int64_t SourceLines::lines_per_block(int64_t tasks) const {
  const int64_t block = std::min(lines_in_cache(), ceil_div(g_->lines(), tasks));
  if (!buffered_) return block;
  if (g_->rows <= 2 * row_span_) return std::max<int64_t>(1, block / g_->rows) * g_->rows;
  return std::max(block, 2 * row_span_);
}

bool SourceLines::fits(int64_t lines) const {
  return buffer_size(lines) <= kMaxMadeFloats;
}

void SourceLines::copy_row(const CopyPixels& copy, int64_t image, int64_t row, float* out) const {
  const int64_t c = g_->c;
  if (row < 0 || row >= g_->h) {
    std::fill_n(out, row_pixels_ * c, 0.0F);
    return;
  }
  const int64_t from = std::clamp<int64_t>(min_column_, 0, g_->w);
  const int64_t to = std::clamp<int64_t>(min_column_ + row_pixels_, from, g_->w);
  const int64_t before = std::clamp<int64_t>(from - min_column_, 0, row_pixels_);
  float* begin = std::fill_n(out, before * c, 0.0F);
  copy(image, row, from, to - from, begin);
  std::fill(begin + (to - from) * c, out + row_pixels_ * c, 0.0F);
}

void SourceLines::fetch(const Source& source, int64_t begin, int64_t end, float* buffer) {
  if (!direct_) {
    fetch_pixels(
        [g = g_, &source](int64_t image, int64_t row, int64_t first, int64_t count, float* out) {
          const int64_t begin_pixel = (image * g->h + row) * g->w + first;
          source.copy(begin_pixel, begin_pixel + count, g->c, out);
        },
        begin, end, buffer);
    return;
  }
  begin_ = begin;
  starts_.clear();
  base_ = source.data();
  for (int64_t line = begin; line < end; ++line) {
    const int64_t row = line / g_->rows * g_->h + line % g_->rows * g_->stride + min_row_;
    starts_.push_back((row * row_pixels_ + min_column_) * g_->c);
  }
}

void SourceLines::fetch_pixels(const CopyPixels& copy, int64_t begin, int64_t end, float* buffer) {
  begin_ = begin;
  starts_.clear();
  base_ = buffer;
  const int64_t row_floats = row_pixels_ * g_->c;
  float* out = buffer;
  for (int64_t line = begin; line < end;) {
    const int64_t image = line / g_->rows;
    const int64_t last = std::min(end, (image + 1) * g_->rows);
    const int64_t first_row = line % g_->rows * g_->stride + min_row_;
    const int64_t rows = rows_of(last - line);
    for (int64_t i = 0; i < last - line; ++i)
      starts_.push_back(out - buffer + i * g_->stride * row_floats);
    for (int64_t i = 0; i < rows; ++i, out += row_floats) copy_row(copy, image, first_row + i, out);
    line = last;
  }
}

const float* SourceLines::line(int64_t line) const {
  return base_ + starts_[static_cast<size_t>(line - begin_)];
}

std::vector<int64_t> SourceLines::tap_offsets() const {
  std::vector<int64_t> offsets;
  offsets.reserve(g_->taps.size());
  for (const Tap& t : g_->taps)
    offsets.push_back(((t.row - min_row_) * row_pixels_ + t.column - min_column_) * g_->c);
  return offsets;
}

std::vector<Segment> SourceLines::segments(int64_t channels) const {
  std::vector<Segment> merged;
  for (const int64_t offset : tap_offsets()) {
    if (!merged.empty() && merged.back().offset + merged.back().length == offset)
      merged.back().length += channels;
    else
      merged.push_back({offset, channels});
  }
  return merged;
}

}  // namespace decant::cpu
