#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/gather.h"
#include "engine/cpu/level.h"
#include "engine/cpu/packed_product.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/prepared_conv.h"

namespace decant::cpu {
namespace {

constexpr int64_t kTasks = 16;
constexpr int64_t kBetweenFloats = int64_t{64} * 1024;  // 256 KB between the two convolutions

Scratch copied(const float* values, int64_t count, int64_t padded) {
  Scratch out(padded);
  float* end = out.data();
  if (values != nullptr) end = std::copy_n(values, count, end);
  std::fill(end, out.data() + padded, 0.0F);
  return out;
}

class SeparableConv : public PreparedConv {
 public:
  SeparableConv(const ConvShape& s, const ConvFilters& depthwise, int64_t c_out,
                const ConvFilters& pointwise, const Upsampled& input)
      : shape_(s),
        input_(input),
        c_out_(c_out),
        taps_(s.kh * s.kw * s.c_in),
        depthwise_bias_(copied(depthwise.bias, s.c_in, s.c_in)),
        depthwise_activation_(depthwise.activation),
        pointwise_({.values = pointwise.w,
                    .transposed = true,
                    .depth = s.c_in,
                    .columns = c_out,
                    .bias = pointwise.bias}),
        activation_(pointwise.activation) {
    for (int64_t i = 0; i < s.w; ++i) columns_.push_back(i * input.w / s.w);
    kernels().transpose({.rows = s.kh * s.kw,
                         .columns = s.c_in,
                         .a = depthwise.w,
                         .a_stride = s.kh * s.kw,
                         .b = taps_.data(),
                         .b_stride = s.c_in,
                         .width = s.c_in});
  }

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    ConvShape s = shape_;
    s.n = n;
    const Gather g = gather_forward(s);
    const SourceLines geometry(g, input_.c > 0);
    const std::vector<int64_t> taps = geometry.tap_offsets();
    const int64_t fitting = std::max<int64_t>(1, kBetweenFloats / (g.columns * g.c));
    const int64_t block =
        std::min({geometry.lines_in_cache(), fitting, ceil_div(g.lines(), kTasks)});
    parallel_ranges(g.lines(), block, [&](int64_t begin, int64_t end) {
      SourceLines lines(geometry);
      Scratch buffer(lines.buffer_size(end - begin));
      if (input_.c > 0)
        lines.fetch_pixels(joined(in), begin, end, buffer.data());
      else
        lines.fetch(in.x, begin, end, buffer.data());
      Scratch between((end - begin) * g.columns * g.c);
      for (int64_t line = begin; line < end; ++line)
        filter_line(g, lines, taps, line, between.data() + (line - begin) * g.columns * g.c);
      const int64_t first = begin * g.columns * c_out_;
      pointwise_.run((end - begin) * g.columns, between.data(), activation_, at(in.residual, first),
                     y + first);
    });
  }

 private:
  // Rows of the enlarged map beside the skip's.
  SourceLines::CopyPixels joined(const ConvInputs& in) const {
    return [this, in](int64_t image, int64_t row, int64_t first, int64_t count, float* out) {
      const int64_t skip_channels = shape_.c_in - input_.c;
      const int64_t low_row = image * input_.h + row * input_.h / shape_.h;
      kernels().join(
          {.pixels = count,
           .columns = columns_.data() + first,
           .x = in.x + low_row * input_.w * input_.c,
           .x_channels = input_.c,
           .skip = in.skip + ((image * shape_.h + row) * shape_.w + first) * skip_channels,
           .skip_channels = skip_channels,
           .y = out});
    };
  }

  // Each channel by itself: one line of results.
  void filter_line(const Gather& g, const SourceLines& lines, const std::vector<int64_t>& taps,
                   int64_t line, float* to) const {
    kernels().depthwise({.pixels = g.columns,
                         .channels = g.c,
                         .x = lines.line(line),
                         .x_stride = lines.pixel_stride(),
                         .taps = taps.data(),
                         .tap_count = static_cast<int64_t>(taps.size()),
                         .w = taps_.data(),
                         .bias = depthwise_bias_.data(),
                         .y = to,
                         .y_stride = g.c});
    finish(depthwise_activation_, nullptr, g.columns, g.c, to, g.c);
  }

  ConvShape shape_;
  Upsampled input_;
  std::vector<int64_t> columns_;  // of the low map, for each of the enlarged one
  int64_t c_out_;
  Scratch taps_;  // [kh kw, c_in]
  Scratch depthwise_bias_;
  PointwiseKind depthwise_activation_;
  PackedProduct pointwise_;
  PointwiseKind activation_;
};

// A 1x1 convolution of images of one pixel is one of pixels.
ConvShape pixels(int64_t c_in, int64_t c_out) {
  return {.n = kUsualBatch,
          .h = 1,
          .w = 1,
          .c_in = c_in,
          .ho = 1,
          .wo = 1,
          .c_out = c_out,
          .kh = 1,
          .kw = 1,
          .stride = 1,
          .dilation = 1,
          .groups = 1,
          .top = 0,
          .left = 0};
}

class PointwisePair : public PreparedConv {
 public:
  PointwisePair(int64_t c_in, const ConvFilters& first, int64_t c_mid, const ConvFilters& second,
                int64_t c_out)
      : c_in_(c_in),
        c_mid_(c_mid),
        c_out_(c_out),
        first_(prepare_conv2d(pixels(c_in, c_mid), first)),
        second_(prepare_conv2d(pixels(c_mid, c_out), second)) {}

  void run(int64_t n, const ConvInputs& in, float* y) const override {
    const int64_t block = std::max<int64_t>(kPixels, kBetweenFloats / c_mid_ / kPixels * kPixels);
    parallel_ranges(n, block, [&](int64_t begin, int64_t end) {
      Scratch between((end - begin) * c_mid_);
      first_->run(end - begin, {in.x + begin * c_in_}, between.data());
      second_->run(end - begin, {between.data(), at(in.residual, begin * c_out_)},
                   y + begin * c_out_);
    });
  }

 private:
  static constexpr int64_t kPixels = 256;  // blocks are whole numbers of them

  int64_t c_in_, c_mid_, c_out_;
  std::unique_ptr<PreparedConv> first_, second_;
};

}  // namespace

std::unique_ptr<PreparedConv> prepare_pointwise_pair(int64_t c_in, const ConvFilters& first,
                                                     int64_t c_mid, const ConvFilters& second,
                                                     int64_t c_out) {
  return std::make_unique<PointwisePair>(c_in, first, c_mid, second, c_out);
}

std::unique_ptr<PreparedConv> prepare_separable(const ConvShape& s, const ConvFilters& depthwise,
                                                int64_t c_out, const ConvFilters& pointwise,
                                                const Upsampled& input) {
  return std::make_unique<SeparableConv>(s, depthwise, c_out, pointwise, input);
}

}  // namespace decant::cpu
