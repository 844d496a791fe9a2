#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/core/view.h"

namespace decant {

/// Which map along an axis of so many inputs and outputs, in numbers that a kernel gets by value:
/// CUDA computes the taps where it needs them, so that a recorded step uploads nothing.
struct AxisMap {
  enum class Kind : uint8_t { nearest, bilinear, bilinear_corners, window, adaptive };
  Kind kind = Kind::nearest;
  int64_t inputs = 0;
  int64_t outputs = 0;
  int64_t kernel = 1;  // of windows
  int64_t stride = 1;
  int64_t padding = 0;
};

/// A linear map along one axis of an image, as a sparse matrix: output i is the sum of
/// weight[k] input[index[k]] for k in [first[i], first[i + 1]). Resizing and mean pooling are such
/// maps along rows and columns; their gradients are the transposed maps. So one kernel,
/// apply_taps, serves resize, avg_pool2d, adaptive_avg_pool2d and upsample_concat, both ways.
struct AxisTaps {
  int64_t inputs = 0;
  AxisMap map = {};  ///< of which this is the matrix, or its transpose
  bool is_transposed = false;
  std::vector<int64_t> first = {0};
  std::vector<int64_t> index = {};
  std::vector<double> weight = {};

  int64_t outputs() const { return static_cast<int64_t>(first.size()) - 1; }
  /// The most taps of any output.
  int64_t longest() const;
  AxisTaps transposed() const;

  void add_tap(int64_t input, double w) {
    index.push_back(input);
    weight.push_back(w);
  }
  void end_output() { first.push_back(static_cast<int64_t>(index.size())); }
};

AxisTaps nearest_taps(int64_t inputs, int64_t outputs);
AxisTaps bilinear_taps(int64_t inputs, int64_t outputs, bool align_corners);
/// Means of windows; padding counts as zeros.
AxisTaps window_taps(int64_t inputs, int64_t kernel, int64_t stride, int64_t padding);
/// Means of windows that cover the axis.
AxisTaps adaptive_taps(int64_t inputs, int64_t outputs);

/// The channels [x_channel, x_channel + channels) of x become the channels from y_channel on of y.
struct ChannelSlice {
  int64_t x_channel = 0;
  int64_t y_channel = 0;
  int64_t channels = 0;
};

namespace cpu {

/// Maps images along rows and columns. Sums of many taps are added up in float64.
void apply_taps(const AxisTaps& rows, const AxisTaps& columns, const Tensor& x, Tensor& y,
                ChannelSlice slice);

}  // namespace cpu
namespace cuda {

/// The same from the two maps: the numbers in the tables are not read.
void apply_taps(const AxisTaps& rows, const AxisTaps& columns, const Tensor& x, Tensor& y,
                ChannelSlice slice);

}  // namespace cuda
}  // namespace decant
