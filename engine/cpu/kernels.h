#pragma once

// The border between ordinary code and the kernels that are compiled once per instruction set.
// This header is all that those files include, and it holds data only: an inline function or a
// template compiled with AVX-512 could replace the copy that older processors run (see README.md).

#include <cstdint>

namespace decant::cpu {

/// What a product adds to.
enum class Start : int32_t { zero, bias, accumulate };

/// Pointwise functions that the norm kernels apply on the way.
enum class PointwiseKind : int32_t { none, relu, relu6, hard_swish, silu };

/// A run of consecutive elements that starts `offset` elements after a row's first.
struct Segment {
  int64_t offset;
  int64_t length;
};

/// Rows of a product with the rows of A as they lie in memory: the sums of a convolution over its
/// taps, or A B.
///   c[i, j] = start + sum over segments s, k < s.length of a[i * a_stride + s.offset + k] b[., j]
/// b is packed [sum of lengths, width], columns beyond `columns` zero. The kernel `dots` takes the
/// same with b [columns, width] instead, width being the sum of lengths, and does not accumulate.
struct RowsArgs {
  int64_t rows;
  int64_t columns;  // written; at most width
  const float* a;
  int64_t a_stride;
  const Segment* segments;
  int64_t segment_count;
  const float* b;
  int64_t width;          // of rows: a whole number of vectors, at most max_width
  bool prefetch = false;  // of rows: a comes from memory rather than from a cache
  Start start;
  const float* bias;  // [width], of dots [columns], where start is bias
  float* c;
  int64_t c_stride;
};

/// Sums of outer products: weight gradients, or A^T B.
///   c[i, j] = start + sum over lines l, p < pixels of
///             a[lines[l] + p * a_stride + i] b[(l * pixels + p) * b_stride + j]
/// Whole vectors of b are read, up to width.
struct OuterArgs {
  int64_t rows;
  int64_t columns;
  const float* a;
  int64_t a_stride;
  const int64_t* lines;  // where in a each line begins
  int64_t line_count;
  int64_t pixels;  // of a line
  const float* b;
  int64_t b_stride;
  int64_t width;  // a whole number of vectors, at most max_width
  Start start;    // zero or accumulate
  float* c;
  int64_t c_stride;
};

/// One filter per channel.
///   y[i, c] = bias[c] + sum over taps t of x[i * x_stride + taps[t] + c] w[t, c]
struct DepthwiseArgs {
  int64_t pixels;
  int64_t channels;
  const float* x;
  int64_t x_stride;
  const int64_t* taps;
  int64_t tap_count;
  const float* w;     // [tap_count, channels]
  const float* bias;  // [channels] or null
  float* y;
  int64_t y_stride;
};

/// Both gradients, each value of dy loaded once for the two. With
///   d(i, t) = dy[i * dy_stride + taps[t] + c]
///   dx[i * x_stride + c] = sum over taps t of d(i, t) w[t, c]
///   dw[t, c] += sum over i of d(i, t) x[i * x_stride + c]
struct DepthwiseGradientsArgs {
  int64_t pixels;
  int64_t channels;
  const float* dy;
  int64_t dy_stride;
  const int64_t* taps;
  int64_t tap_count;
  const float* w;  // [tap_count, channels]
  const float* x;
  int64_t x_stride;
  float* dx;
  float* dw;  // [tap_count, channels]
};

/// b[i * b_stride + j] = a[j * a_stride + i] for i < rows, j < columns; zero for columns <= j <
/// width.
struct TransposeArgs {
  int64_t rows;
  int64_t columns;
  const float* a;
  int64_t a_stride;
  float* b;
  int64_t b_stride;
  int64_t width;
};

/// Mean and sum of squared deviations of each channel of x [pixels, channels].
struct MomentsArgs {
  int64_t pixels;
  int64_t channels;
  const float* x;
  float* mean;
  float* m2;
};

/// Per channel constants of batch normalization, z = (x - mean) * gain + shift + residual.
struct NormArgs {
  int64_t pixels;
  int64_t channels;
  PointwiseKind activation;
  const float* x;
  const float* mean;
  const float* gain;
  const float* shift;
  const float* residual;  // or null
  float* y;               // forward: act(z)

  // Backward, with dz = dy act'(z):
  const float* dy;
  float* dz;            // sums: written where not null
  float* sum_dz;        // sums: sum over pixels of dz
  float* sum_dz_x;      // sums: sum over pixels of dz (x - mean)
  const float* offset;  // gradient: dx = dz gain + (x - mean) slope + offset
  const float* slope;
  float* dx;
};

/// What follows a convolution's sums, while they are in the cache: y = act(y + residual).
struct FinishArgs {
  int64_t pixels;
  int64_t channels;
  PointwiseKind activation;
  const float* residual;  // or null; its pixels lie as those of y
  float* y;
  int64_t stride;  // of pixels
};

/// Pixels of two maps side by side: y[i] = x[columns[i]] and then skip[i].
struct JoinArgs {
  int64_t pixels;
  const int64_t* columns;
  const float* x;  // [.., x_channels]
  int64_t x_channels;
  const float* skip;  // [pixels, skip_channels]
  int64_t skip_channels;
  float* y;  // [pixels, x_channels + skip_channels]
};

/// The way back: dx[columns[i]] += dy[i]'s first channels, dskip[i] = its others.
struct SplitArgs {
  int64_t pixels;
  const int64_t* columns;
  const float* dy;  // [pixels, x_channels + skip_channels]
  int64_t x_channels;
  float* dx;  // [.., x_channels] or null
  int64_t skip_channels;
  float* dskip;  // [pixels, skip_channels] or null
};

/// Binary cross-entropy of logits z with targets y.
struct BceArgs {
  int64_t count;
  const float* z;
  const float* y;
  float factor = 1;  // gradient: dz = factor (sigmoid(z) - y)
  float* dz = nullptr;
};

/// Transforms of Winograd's convolution F(4x4, 3x3) (winograd.h), each channel by itself: a small
/// grid of pixels goes in, a small grid comes out, multiplied by a matrix from both sides.
struct WinogradArgs {
  int64_t channels;
  // Element (i, j) lies at from[i * row_stride + j * column_stride + channel]. Where the grid hangs
  // over the edge of an image, only rows and columns [begin, end) are read, or written; what is not
  // read counts as zero.
  const float* from;
  int64_t from_row_stride;
  int64_t from_column_stride;
  float* to;
  int64_t to_row_stride;
  int64_t to_column_stride;
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
  // winograd_output: act(result + bias + residual), where they are not null.
  const float* bias;
  const float* residual;  // its grid lies as that of `to`
  PointwiseKind activation;
};

/// The kernels of one instruction set. All work on float32, all are deterministic: an element's
/// sum runs in the order of the formula, whatever the tile it falls into. Those of the moments run
/// in four chains of pixels, added up at the end.
struct Kernels {
  int64_t lanes;      // of a vector
  int64_t max_width;  // of a packed panel
  void (*rows)(const RowsArgs&);
  void (*dots)(const RowsArgs&);
  void (*outer)(const OuterArgs&);
  void (*depthwise)(const DepthwiseArgs&);
  void (*depthwise_gradients)(const DepthwiseGradientsArgs&);
  void (*transpose)(const TransposeArgs&);
  void (*moments)(const MomentsArgs&);
  void (*normalize)(const NormArgs&);
  void (*normalize_sums)(const NormArgs&);
  void (*normalize_gradient)(const NormArgs&);
  void (*finish)(const FinishArgs&);
  void (*join)(const JoinArgs&);
  void (*split)(const SplitArgs&);
  double (*bce_sum)(const BceArgs&);  // of log(1 + exp(z)) - z y
  void (*bce_gradient)(const BceArgs&);
  // The grids: read, written, and which of the two is clipped. Unclipped grids have channels up to
  // a whole number of vectors.
  void (*winograd_input)(const WinogradArgs&);   // 6x6 clipped -> 6x6: B^T d B
  void (*winograd_output)(const WinogradArgs&);  // 6x6 -> 4x4 clipped: A^T m A + ...
  void (*winograd_weight)(const WinogradArgs&);  // 3x3 of exactly `channels` -> 6x6: G g G^T
  void (*winograd_output_gradient)(const WinogradArgs&);  // 4x4 clipped -> 6x6: A d A^T
  void (*winograd_weight_gradient)(const WinogradArgs&);  // 6x6 -> 3x3 of `channels`: G^T h G
  /// Independent multiply-adds in registers, `count` times 16 vectors: the measure of a machine's
  /// peak, against which benchmarks state their speed. Returns a number that depends on all.
  float (*peak)(int64_t count);
};

const Kernels& kernels_portable();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace decant::cpu
