#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/cpu/conv.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/source.h"

namespace decant::cpu {

/// A position of the kernel, and what it reads: output pixel (i, j) reads the source pixel
/// (i stride + row, j stride + column).
struct Tap {
  int64_t row, column;
  int64_t r, s;  // in the kernel
};

/// What every pass of a convolution is made of: output pixels that gather taps of a source image.
/// Forward, the source is x. For the input gradient the source is dy, and where the stride is s,
/// the pixels of dx fall into s * s phases that see different taps; each phase is one Gather.
struct Gather {
  int64_t n, h, w, c;  // source
  int64_t stride = 1;
  std::vector<Tap> taps;  // in order of rows, then columns
  int64_t rows, columns;  // output pixels of an image
  // Where they lie in an output image of out_h x out_w pixels.
  int64_t out_h, out_w;
  int64_t first_row = 0, first_column = 0, step = 1;

  int64_t lines() const { return n * rows; }
  /// Index of the first output pixel of a line, lines counted through all images.
  int64_t out_pixel(int64_t line) const {
    return (line / rows * out_h + first_row + line % rows * step) * out_w + first_column;
  }
};

Gather gather_forward(const ConvShape& s);
/// The phases that have output pixels; some may have no taps, their gradient is zero.
std::vector<Gather> gather_input_gradient(const ConvShape& s);

/// 1x1, stride 1, no padding: pixels by themselves.
bool maps_pixels(const ConvShape& s);
/// Such a convolution does not care where pixels lie: longer lines make better tiles.
ConvShape merge_lines(ConvShape s);

/// The source rows that some lines of output need, as one buffer with the zeros of the padding in
/// it, or the source itself where no tap leaves it. Tap offsets are then the same for every pixel.
class SourceLines {
 public:
  /// Copies count pixels of a row of an image, from pixel `first` on.
  using CopyPixels =
      std::function<void(int64_t image, int64_t row, int64_t first, int64_t count, float* out)>;

  /// `buffered`: the source is made, by itself or by fetch_pixels, so the buffer is always there.
  explicit SourceLines(const Gather& g, bool buffered = false);

  /// Floats of the buffer for `lines` consecutive lines; 0 where the source is used as it is.
  int64_t buffer_size(int64_t lines) const;
  /// Lines per block such that the buffer stays in the second-level cache.
  int64_t lines_in_cache() const;
  /// The same for `tasks` blocks or more. A row that is made is made by each block that reads it:
  /// so those blocks are whole images, each row made once, or so long that rows are made 3/2 times
  /// at most.
  int64_t lines_per_block(int64_t tasks) const;
  /// Whether a buffer for so many lines, though beyond the cache, is small enough to copy or to
  /// make the source in, block by block.
  bool fits(int64_t lines) const;

  /// Fetches lines [begin, end) into `buffer`.
  void fetch(const Source& source, int64_t begin, int64_t end, float* buffer);
  void fetch_pixels(const CopyPixels& copy, int64_t begin, int64_t end, float* buffer);
  /// Where the taps of a fetched line's first pixel begin.
  const float* line(int64_t line) const;

  /// Rows of the source that one line's taps reach over.
  int64_t row_span() const { return row_span_; }
  int64_t pixel_stride() const { return g_->stride * g_->c; }
  /// Offsets of the taps of pixel 0 from line().
  std::vector<int64_t> tap_offsets() const;
  /// The runs of `channels` channels of each tap, neighbours merged.
  std::vector<Segment> segments(int64_t channels) const;

 private:
  int64_t rows_of(int64_t lines) const { return (lines - 1) * g_->stride + row_span_; }
  void copy_row(const CopyPixels& copy, int64_t image, int64_t row, float* out) const;

  const Gather* g_;
  bool buffered_;
  int64_t min_row_ = 0, min_column_ = 0;
  int64_t row_span_ = 1;
  int64_t row_pixels_ = 0;  // of the buffer
  bool direct_ = false;
  const float* base_ = nullptr;
  std::vector<int64_t> starts_;  // of each fetched line, from base_
  int64_t begin_ = 0;
};

}  // namespace decant::cpu
