#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/core/view.h"

namespace decant {

/// A linear map along one axis of an image, as a sparse matrix: output i is the sum of
/// weight[k] input[index[k]] for k in [first[i], first[i + 1]). Resizing and mean pooling are such
/// maps along rows and columns; their gradients are the transposed maps. So one kernel,
/// apply_taps, serves resize, avg_pool2d, adaptive_avg_pool2d and upsample_concat, both ways.
struct AxisTaps {
  int64_t inputs = 0;
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

namespace cpu {

/// The channels [x_channel, x_channel + channels) of the images x, mapped along rows and columns,
/// become the channels from y_channel on of y. Sums of many taps are added up in float64.
struct ChannelSlice {
  int64_t x_channel = 0;
  int64_t y_channel = 0;
  int64_t channels = 0;
};
void apply_taps(const AxisTaps& rows, const AxisTaps& columns, const Tensor& x, Tensor& y,
                ChannelSlice slice);

}  // namespace cpu
}  // namespace decant
