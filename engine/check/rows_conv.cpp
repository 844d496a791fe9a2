#include <numeric>

#include "engine/check/op_row.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/winograd.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/conv_transpose2d.h"

namespace decant {
namespace {

struct Convolution {
  const char* variant;
  Shape x, w;
  Conv2dOptions options;
  bool bias = true;
};

// The products of a sum in each pass of the convolution of images to `outputs` pixels.
struct Sums {
  double forward, input_gradient, weight_gradient;
};

Sums sums_of(const Shape& w, int64_t outputs, int stride, int dilation, int groups) {
  // Of a kernel's positions along an axis, those that one input pixel is read through: all that are
  // equal modulo the stride once they are dilated.
  const auto reading = [=](int64_t kernel) {
    const int64_t apart = stride / std::gcd(stride, dilation);
    return (kernel + apart - 1) / apart;
  };
  const int64_t filters = w[0] / groups;
  return {.forward = static_cast<double>(w[1] * w[2] * w[3]),
          .input_gradient = static_cast<double>(reading(w[1]) * reading(w[2]) * filters),
          .weight_gradient = static_cast<double>(outputs)};
}

// By the algorithm that the CPU chooses for a pass of y = conv2d(x, w).
double growth_of(const Convolution& c, cpu::ConvPass pass) {
  const Shape y = conv2d_shape(c.x, c.w, c.options);
  const cpu::ConvShape s = {.n = c.x[0],
                            .h = c.x[1],
                            .w = c.x[2],
                            .c_in = c.x[3],
                            .ho = y[1],
                            .wo = y[2],
                            .c_out = c.w[0],
                            .kh = c.w[1],
                            .kw = c.w[2],
                            .stride = c.options.stride,
                            .dilation = c.options.dilation,
                            .groups = c.options.groups,
                            .top = c.options.padding.top,
                            .left = c.options.padding.left};
  return cpu::algorithm_of(s, pass) == cpu::ConvAlgorithm::winograd ? cpu::kWinogradKappa : 1;
}

int64_t pixels_of(const Shape& image) {
  return image[0] * image[1] * image[2];
}

// Every branch of engine/cpu: whole panels and remainders of one to four vectors, lines of whole
// tiles and remainders, parts of a deep panel, each geometry, groups and the depthwise kernels.
const std::vector<Convolution>& convolutions() {
  static const std::vector<Convolution> table = {
      {"3x3", {2, 5, 6, 3}, {4, 3, 3, 3}, {.padding = 1}},
      {"no bias", {1, 4, 5, 2}, {3, 3, 3, 2}, {}, false},
      {"1x1", {2, 3, 4, 5}, {6, 1, 1, 5}, {}},
      {"1x1 stride 2", {2, 5, 4, 3}, {4, 1, 1, 3}, {.stride = 2}},
      {"one channel in and out", {1, 5, 5, 1}, {1, 3, 3, 1}, {.padding = 1}},
      {"stem 7x7 stride 2", {1, 9, 11, 3}, {4, 7, 7, 3}, {.stride = 2, .padding = 3}},
      {"3x3 stride 2, even size", {1, 6, 8, 3}, {4, 3, 3, 3}, {.stride = 2, .padding = 1}},
      {"3x3 stride 2, odd size", {1, 7, 5, 3}, {4, 3, 3, 3}, {.stride = 2, .padding = 1}},
      {"stride 3 of 2x2: unread pixels", {1, 8, 9, 2}, {3, 2, 2, 2}, {.stride = 3}},
      {"asymmetric padding", {1, 6, 5, 2}, {3, 3, 3, 2}, {.stride = 2, .padding = {0, 1, 2, 3}}},
      {"kernel 1x4", {1, 4, 7, 2}, {3, 1, 4, 2}, {.padding = {0, 0, 1, 2}}},
      {"dilation 2", {1, 7, 8, 2}, {3, 3, 3, 2}, {.padding = 2, .dilation = 2}},
      {"dilation 3, stride 2",
       {1, 9, 8, 2},
       {3, 3, 3, 2},
       {.stride = 2, .padding = 3, .dilation = 3}},
      {"kernel wider than the image", {1, 2, 3, 2}, {3, 5, 5, 2}, {.padding = 3}},
      {"groups 2", {1, 5, 6, 4}, {6, 3, 3, 2}, {.padding = 1, .groups = 2}},
      {"depthwise 3x3", {1, 5, 6, 5}, {5, 3, 3, 1}, {.padding = 1, .groups = 5}},
      {"depthwise 5x5 stride 2",
       {1, 7, 8, 3},
       {3, 5, 5, 1},
       {.stride = 2, .padding = 2, .groups = 3}},
      {"depthwise, two filters each", {1, 5, 4, 3}, {6, 3, 3, 1}, {.padding = 1, .groups = 3}},
      {"real: 64 to 64", {2, 16, 17, 64}, {64, 3, 3, 64}, {.padding = 1}},
      {"real: 48 to 83", {1, 9, 13, 48}, {83, 3, 3, 48}, {.padding = 1}},
      {"real: 128 to 32, stride 2", {1, 16, 16, 128}, {32, 3, 3, 128}, {.stride = 2, .padding = 1}},
      {"real: 256 to 128, 4 x 4", {8, 4, 4, 256}, {128, 3, 3, 256}, {.padding = 1}},
      {"real: 16 to 16", {2, 40, 41, 16}, {16, 3, 3, 16}, {.padding = 1}},
      {"real: stem", {1, 48, 50, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}},
      {"real: head", {1, 40, 40, 16}, {1, 3, 3, 16}, {.padding = 1}},
      {"real: 1x1, 96 to 24", {2, 16, 16, 96}, {24, 1, 1, 96}, {}},
      {"1x1, 4 to 32: the value promised", {2, 7, 9, 4}, {32, 1, 1, 4}, {}},
      {"1x1, 32 to 4: the gradient promised", {2, 7, 9, 32}, {4, 1, 1, 32}, {}},
      {"real: 32 groups of 8", {1, 12, 12, 256}, {256, 3, 3, 8}, {.padding = 1, .groups = 32}},
      {"real: depthwise 96", {2, 20, 21, 96}, {96, 3, 3, 1}, {.padding = 1, .groups = 96}},
      {"real: depthwise 5x5 72 stride 2",
       {2, 20, 21, 72},
       {72, 5, 5, 1},
       {.stride = 2, .padding = 2, .groups = 72}},
  };
  return table;
}

struct Transposed {
  const char* variant;
  Shape x, w;
  ConvTranspose2dOptions options;
  bool bias = true;
};

const std::vector<Transposed>& transposed() {
  static const std::vector<Transposed> table = {
      {"2x2 stride 2", {1, 3, 4, 3}, {3, 2, 2, 2}, {.stride = 2}},
      {"3x3", {1, 4, 5, 2}, {2, 3, 3, 3}, {.padding = 1}},
      {"4x4 stride 2, no bias", {1, 3, 4, 2}, {2, 4, 4, 3}, {.stride = 2, .padding = 1}, false},
      {"3x3 stride 2, output padding",
       {1, 3, 4, 2},
       {2, 3, 3, 3},
       {.stride = 2, .padding = 1, .output_padding = 1}},
      {"groups 2, dilation 2",
       {1, 4, 3, 4},
       {4, 3, 3, 1},
       {.padding = {1, 0, 2, 1}, .dilation = 2, .groups = 2}},
      {"2x2 stride 3: pixels without a tap", {1, 3, 3, 2}, {2, 2, 2, 2}, {.stride = 3}},
      {"real: 128 to 64, 4x4 stride 2",
       {2, 8, 9, 128},
       {128, 4, 4, 64},
       {.stride = 2, .padding = 1}},
  };
  return table;
}

std::vector<Tensor> operands(const Shape& x, const Shape& w, int64_t outputs, bool bias) {
  std::vector<Tensor> inputs = {randn(x, 1), randn(w, 2)};
  if (bias) inputs.push_back(randn({outputs}, 3));
  return inputs;
}

bool is_large(const Shape& x, const Shape& w) {
  return x.size() + w.size() > 1500;
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  for (const Convolution& c : convolutions()) {
    const int64_t outputs = pixels_of(conv2d_shape(c.x, c.w, c.options));
    const Sums sums = sums_of(c.w, outputs, c.options.stride, c.options.dilation, c.options.groups);
    table.push_back({.op = "conv2d",
                     .variant = c.variant,
                     .inputs = operands(c.x, c.w, c.w[0], c.bias),
                     .call =
                         [o = c.options](const std::vector<Variable>& x) {
                           return conv2d(x[0], x[1], x.size() > 2 ? x[2] : Variable{}, o);
                         },
                     .products = sums.forward + 1,  // the bias
                     .gradient_products = {sums.input_gradient, sums.weight_gradient,
                                           static_cast<double>(outputs)},
                     .cpu_growth = growth_of(c, cpu::ConvPass::forward),
                     .gradient_cpu_growth = {growth_of(c, cpu::ConvPass::input_gradient),
                                             growth_of(c, cpu::ConvPass::weight_gradient), 1},
                     .large = is_large(c.x, c.w)});
  }
  // As a convolution, its input gradient forward: from y's pixels to x's.
  for (const Transposed& c : transposed()) {
    const std::vector<Tensor> inputs = operands(c.x, c.w, c.w[3] * c.options.groups, c.bias);
    const Sums sums =
        sums_of(c.w, pixels_of(c.x), c.options.stride, c.options.dilation, c.options.groups);
    const Shape y =
        conv_transpose2d(Variable(inputs[0]), Variable(inputs[1]), {}, c.options).shape();
    table.push_back({.op = "conv_transpose2d",
                     .variant = c.variant,
                     .inputs = inputs,
                     .call =
                         [o = c.options](const std::vector<Variable>& x) {
                           return conv_transpose2d(x[0], x[1], x.size() > 2 ? x[2] : Variable{}, o);
                         },
                     .products = sums.input_gradient + 1,  // the bias
                     .gradient_products = {sums.forward, sums.weight_gradient,
                                           static_cast<double>(pixels_of(y))},
                     .large = is_large(c.x, c.w)});
  }
  return table;
}

Variable zeros(Shape shape, DType dtype = DType::f32) {
  return Variable(Tensor::zeros(shape, dtype));
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "conv2d",
       .what = "rank 3",
       .call = [] { conv2d(zeros({4, 4, 3}), zeros({2, 3, 3, 3})); },
       .message = "got x [4, 4, 3] and w [2, 3, 3, 3]"},
      {.op = "conv2d",
       .what = "channels",
       .call = [] { conv2d(zeros({1, 4, 4, 3}), zeros({2, 3, 3, 4})); },
       .message = "x [1, 4, 4, 3] and w [2, 3, 3, 4]"},
      {.op = "conv2d",
       .what = "groups that do not divide",
       .call = [] { conv2d(zeros({1, 4, 4, 4}), zeros({3, 3, 3, 2}), {}, {.groups = 2}); },
       .message = "in 2 groups, x [1, 4, 4, 4] and w [3, 3, 3, 2]"},
      {.op = "conv2d",
       .what = "kernel larger than the image",
       .call = [] { conv2d(zeros({1, 4, 4, 3}), zeros({2, 5, 5, 3})); },
       .message = "x [1, 4, 4, 3] and w [2, 5, 5, 3]"},
      {.op = "conv2d",
       .what = "bias of another size",
       .call = [] { conv2d(zeros({1, 4, 4, 3}), zeros({2, 3, 3, 3}), zeros({3})); },
       .message = "expected b [2] for w [2, 3, 3, 3], got b [3]"},
      {.op = "conv2d",
       .what = "stride 0",
       .call = [] { conv2d(zeros({1, 4, 4, 3}), zeros({2, 3, 3, 3}), {}, {.stride = 0}); },
       .message = "x [1, 4, 4, 3] and w [2, 3, 3, 3]"},
      {.op = "conv2d",
       .what = "negative padding",
       .call = [] { conv2d(zeros({1, 4, 4, 3}), zeros({2, 3, 3, 3}), {}, {.padding = -1}); },
       .message = "x [1, 4, 4, 3] and w [2, 3, 3, 3]"},
      {.op = "conv2d",
       .what = "two types",
       .call = [] { conv2d(zeros({1, 4, 4, 3}), zeros({2, 3, 3, 3}, DType::f64)); },
       .message = "got x float32 and w float64"},
      {.op = "conv_transpose2d",
       .what = "channels",
       .call = [] { conv_transpose2d(zeros({1, 4, 4, 3}), zeros({4, 2, 2, 2})); },
       .message = "x [1, 4, 4, 3] and w [4, 2, 2, 2]"},
      {.op = "conv_transpose2d",
       .what = "output padding as large as the stride",
       .call =
           [] {
             conv_transpose2d(zeros({1, 4, 4, 3}), zeros({3, 2, 2, 2}), {},
                              {.stride = 2, .output_padding = 2});
           },
       .message = "x [1, 4, 4, 3] and w [3, 2, 2, 2]"},
      {.op = "conv_transpose2d",
       .what = "nothing left inside of the padding",
       .call =
           [] { conv_transpose2d(zeros({1, 2, 2, 3}), zeros({3, 2, 2, 2}), {}, {.padding = 2}); },
       .message = "x [1, 2, 2, 3] and w [3, 2, 2, 2]"},
  };
}

const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
