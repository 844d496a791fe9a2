// The convolutions' kernels in every mode and of either stored type, held against the simple one,
// and that against the CPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/check/tolerance.h"
#include "engine/core/precision.h"
#ifdef DECANT_EMULATED
#include "engine/cuda/emulated/device.h"
#endif
#include "engine/ops/column_sums.h"
#include "engine/ops/conv2d_cases.h"
#include "engine/ops/conv2d_passes.h"

using namespace decant;
using namespace decant::cuda;

namespace {

struct Case {
  std::string name;
  Shape x, w;
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;

  ConvShape shape() const {
    const auto outputs = [this](int64_t size, int64_t taps) {
      return (size + 2 * padding - dilation * (taps - 1) - 1) / stride + 1;
    };
    return {.n = x[0],
            .h = x[1],
            .w = x[2],
            .c_in = x[3],
            .ho = outputs(x[1], w[1]),
            .wo = outputs(x[2], w[2]),
            .c_out = w[0],
            .kh = w[1],
            .kw = w[2],
            .stride = stride,
            .dilation = dilation,
            .groups = groups,
            .top = padding,
            .left = padding};
  }
};

// NOLINTBEGIN(modernize-use-designated-initializers): tables, their columns named by the struct
// Every branch of the implicit products.
const std::vector<Case> kProducts = {
    {"narrow tile", {1, 6, 7, 8}, {24, 3, 3, 8}, 1, 1},
    {"slim tiles, few outputs", {1, 6, 7, 16}, {16, 3, 3, 16}, 1, 1},
    {"head", {1, 10, 11, 16}, {1, 3, 3, 16}, 1, 1},
    {"few outputs, many columns", {1, 6, 7, 24}, {10, 3, 3, 24}, 1, 1},
    {"few outputs of odd channels", {1, 6, 7, 5}, {8, 3, 3, 5}, 1, 1},
    {"more outputs of odd channels", {1, 6, 7, 5}, {24, 3, 3, 5}, 1, 1},
    {"medium tile, several of pixels", {2, 9, 11, 8}, {40, 3, 3, 8}, 1, 1},
    {"wide tile", {1, 130, 132, 8}, {72, 1, 1, 8}, 1, 1},
    {"wide tile of the input gradient", {1, 130, 132, 72}, {8, 1, 1, 72}, 1, 1},
    {"wide tile of the weight gradient", {1, 5, 6, 16}, {72, 3, 3, 16}, 1, 1},
    {"parts of the depth", {1, 4, 5, 128}, {12, 3, 3, 128}, 1, 1},
    {"parts of the input gradient", {1, 4, 5, 16}, {128, 3, 3, 16}, 1, 1},
    {"parts of the weight gradient", {1, 33, 34, 8}, {8, 1, 2, 8}, 1, 1},
    {"odd number of outputs", {1, 5, 6, 8}, {5, 3, 3, 8}, 1, 1},
    {"channels that are no multiple of 4", {1, 6, 7, 3}, {8, 3, 3, 3}, 1, 1},
    {"channels that are a multiple of 4, not of 8", {1, 6, 7, 12}, {20, 3, 3, 12}, 1, 1},
    {"stem", {1, 11, 13, 3}, {10, 7, 7, 3}, 2, 3},
    {"stride 2", {2, 7, 8, 8}, {16, 3, 3, 8}, 2, 1},
    {"1x1 stride 2: pixels without a tap", {1, 5, 6, 8}, {8, 1, 1, 8}, 2},
    {"stride 3", {1, 8, 9, 8}, {8, 2, 2, 8}, 3},
    {"dilation 2, stride 2", {1, 9, 8, 8}, {8, 3, 3, 8}, 2, 2, 2},
    {"dilation 3, stride 2", {1, 9, 8, 8}, {8, 3, 3, 8}, 2, 3, 3},
    {"kernel larger than the image", {1, 2, 3, 8}, {8, 5, 5, 8}, 1, 3},
    {"groups that do not bundle", {1, 6, 7, 24}, {36, 3, 3, 8}, 1, 1, 1, 3},
    {"two bundles of groups", {1, 6, 7, 64}, {64, 3, 3, 8}, 1, 1, 1, 8},
    {"groups, more outputs than channels", {1, 6, 7, 16}, {32, 3, 3, 4}, 1, 1, 1, 4},
    {"groups, channels of one no multiple of 4", {1, 6, 7, 6}, {9, 3, 3, 2}, 1, 1, 1, 3},
    {"1x1, a matrix product", {2, 5, 7, 24}, {40, 1, 1, 24}},
    {"1x1, odd channels", {1, 4, 5, 3}, {5, 1, 1, 3}},
};

// What they leave to the simple kernel, and the depthwise ones: float32 in every mode.
const std::vector<Case> kFloat32 = {
    {"stride 5", {1, 11, 12, 4}, {8, 2, 2, 4}, 5},
    {"depthwise 3x3", {2, 6, 9, 8}, {8, 3, 3, 1}, 1, 1, 1, 8},
    {"depthwise 3x3, more channels than a block's", {1, 3, 5, 132}, {132, 3, 3, 1}, 1, 1, 1, 132},
    {"depthwise 3x3, little padding", {1, 5, 6, 4}, {4, 3, 3, 1}, 1, 0, 1, 4},
    {"depthwise 3x3, much padding", {1, 5, 6, 4}, {4, 3, 3, 1}, 1, 4, 1, 4},
    {"depthwise 3x3 stride 2", {1, 7, 10, 12}, {12, 3, 3, 1}, 2, 1, 1, 12},
    {"depthwise 5x5", {1, 7, 6, 20}, {20, 5, 5, 1}, 1, 2, 1, 20},
    {"depthwise 5x5 stride 2", {1, 8, 7, 40}, {40, 5, 5, 1}, 2, 2, 1, 40},
    {"depthwise, many lines", {4, 40, 5, 4}, {4, 3, 3, 1}, 1, 1, 1, 4},
    {"depthwise, two filters each", {1, 5, 4, 4}, {8, 3, 3, 1}, 1, 1, 1, 4},
};
// NOLINTEND(modernize-use-designated-initializers)

struct Operands {
  Tensor x, w, dy, y_bias, x_bias;

  /// Images rounded to what `stored` holds, but all float32.
  explicit Operands(const ConvShape& s, DType stored = DType::f32)
      : x(floats({s.n, s.h, s.w, s.c_in}, 1).to(stored).to(DType::f32)),
        w(floats({s.c_out, s.kh, s.kw, s.c_in / s.groups}, 2)),
        dy(floats({s.n, s.ho, s.wo, s.c_out}, 3).to(stored).to(DType::f32)),
        y_bias(floats({s.c_out}, 4)),
        x_bias(floats({s.c_in}, 5)) {}

  /// On cuda, images of that type.
  Operands on_cuda(DType stored) const {
    Operands o = *this;
    o.x = x.to(stored).to(Device::cuda);
    o.dy = dy.to(stored).to(Device::cuda);
    for (Tensor* t : {&o.w, &o.y_bias, &o.x_bias}) *t = t->to(Device::cuda);
    return o;
  }

  static Tensor floats(Shape shape, uint64_t seed) { return randn(shape, seed).to(DType::f32); }
};

/// For operands on either device, of the type and the place of their images.
struct Results {
  Tensor y, dx, dw;

  explicit Results(const Operands& o)
      : y(o.dy.shape(), o.x.dtype(), o.x.device()),
        dx(o.x.shape(), o.x.dtype(), o.x.device()),
        dw(o.w.shape(), DType::f32, o.x.device()) {}
};

struct Passes {
  decltype(&simple::forward) forward;
  decltype(&simple::input_gradient) input_gradient;
  decltype(&simple::weight_gradient) weight_gradient;

  Results operator()(const ConvShape& s, const Operands& o) const {
    Results r(o);
    forward(s, o.x, o.w, o.y_bias, r.y);
    input_gradient(s, o.dy, o.w, o.x_bias, r.dx);
    weight_gradient(s, o.x, o.dy, r.dw);
    return r;
  }
};
constexpr Passes on_cpu = {.forward = cpu::conv2d_forward,
                           .input_gradient = cpu::conv2d_input_gradient,
                           .weight_gradient = cpu::conv2d_weight_gradient};
constexpr Passes by_simple_kernels = {.forward = simple::forward,
                                      .input_gradient = simple::input_gradient,
                                      .weight_gradient = simple::weight_gradient};
constexpr Passes by_chosen_kernels = {.forward = cuda::conv2d_forward,
                                      .input_gradient = cuda::conv2d_input_gradient,
                                      .weight_gradient = cuda::conv2d_weight_gradient};

// |got - expected| / |expected|
double distance(const Tensor& got, const Tensor& expected) {
  const Tensor a = got.to(Device::cpu).to(DType::f32);
  const Tensor b = expected.to(Device::cpu).to(DType::f32);
  double squares = 0;
  double scale = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const auto value = static_cast<double>(b.data<float>()[i]);
    const double error = static_cast<double>(a.data<float>()[i]) - value;
    squares += error * error;
    scale += value * value;
  }
  return std::sqrt(squares / scale);
}

// Roundings to fewer bits than float32's, see tolerance.h.
struct Roundings {
  Precision to = Precision::f32;
  int images = 0;   // of y and dx
  int weights = 0;  // of dw
};
Roundings of_operands(Precision mode) {
  return {.to = mode, .images = 2, .weights = 2};
}
// Of bf16 images: the result, and w where it enters a product of tensor cores.
constexpr Roundings kStoredResult = {.to = Precision::bf16, .images = 1};
constexpr Roundings kStoredProduct = {.to = Precision::bf16, .images = 2};

#ifdef DECANT_EMULATED
constexpr bool kLibraryRounds = true;
#else
constexpr bool kLibraryRounds = false;  // cublasLt is free to choose a finer mode
#endif

void check_close(const Results& got, const Results& expected, const ConvShape& s,
                 const Roundings& roundings) {
  const int64_t fewest = std::min({got.y.size(), got.dx.size(), got.dw.size()});
  const auto check_one = [&](const std::string& what, const Tensor& a, const Tensor& b,
                             int64_t products, int of_each) {
    CAPTURE(what);
    constexpr double kBothRound = std::numbers::sqrt2;  // their sums, like a random walk
    const double limit = tolerance(static_cast<double>(products), kBothRound,
                                   {.to = roundings.to, .of_each = of_each, .values = fewest});
    const double error = distance(a, b);
    CHECK(error < limit);
    // The mode is what was asked for, not a finer one.
    const bool rounds = kLibraryRounds || s.kh * s.kw > 1;  // 1 x 1 is a product of matrices
    if (roundings.to != Precision::f32 && of_each > 0 && rounds) CHECK(error > limit / 100);
  };
  check_one("y", got.y, expected.y, s.kh * s.kw * s.c_in / s.groups + 1, roundings.images);
  check_one("dx", got.dx, expected.dx, s.kh * s.kw * s.c_out / s.groups + 1, roundings.images);
  check_one("dw", got.dw, expected.dw, s.n * s.ho * s.wo, roundings.weights);
}

}  // namespace

TEST_CASE("the simple convolution agrees with the CPU's") {
  for (const std::vector<Case>& table : {kProducts, kFloat32})
    for (const Case& c : table)
      for (const DType stored : {DType::f32, DType::bf16}) {
        CAPTURE(c.name);
        CAPTURE(stored);
        const ConvShape s = c.shape();
        const Operands operands(s, stored);
        check_close(by_simple_kernels(s, operands.on_cuda(stored)), on_cpu(s, operands), s,
                    stored == DType::bf16 ? kStoredResult : Roundings{});
      }
}

TEST_CASE("convolutions as products agree with the simple one in every mode") {
  for (const Case& c : kProducts) {
    CAPTURE(c.name);
    const ConvShape s = c.shape();
    const Operands operands = Operands(s).on_cuda(DType::f32);
    const Results expected = by_simple_kernels(s, operands);
    for (const Precision mode : {Precision::f32, Precision::tf32, Precision::bf16}) {
      CAPTURE(mode);
      const AtPrecision guard(mode);
      check_close(by_chosen_kernels(s, operands), expected, s, of_operands(mode));
    }
  }
}

#ifdef DECANT_EMULATED
TEST_CASE("wide tiles on a card with 99 KB of shared memory per block give the same bits") {
  int tried = 0;
  for (const Case& c : kProducts) {
    if (!c.name.starts_with("wide tile")) continue;
    ++tried;
    CAPTURE(c.name);
    const ConvShape s = c.shape();
    const auto check_same = [&](DType stored) {
      const Operands operands = Operands(s).on_cuda(stored);
      const Results expected = by_chosen_kernels(s, operands);
      const emulated::AtSharedLimit smaller(99 << 10);
      const Results got = by_chosen_kernels(s, operands);
      CHECK(distance(got.y, expected.y) == 0);
      CHECK(distance(got.dx, expected.dx) == 0);
      CHECK(distance(got.dw, expected.dw) == 0);
    };
    for (const Precision mode : {Precision::f32, Precision::tf32, Precision::bf16}) {
      CAPTURE(mode);
      const AtPrecision guard(mode);
      check_same(DType::f32);
    }
    check_same(DType::bf16);
  }
  CHECK(tried == 3);
}
#endif

TEST_CASE("convolutions of bf16 images as products round the weights and the result") {
  for (const Case& c : kProducts) {
    CAPTURE(c.name);
    const ConvShape s = c.shape();
    const Operands operands(s, DType::bf16);
    check_close(by_chosen_kernels(s, operands.on_cuda(DType::bf16)),
                by_simple_kernels(s, operands.on_cuda(DType::f32)), s, kStoredProduct);
  }
}

TEST_CASE("depthwise convolutions are float32 in every mode, and round but a bf16 result") {
  for (const Case& c : kFloat32) {
    CAPTURE(c.name);
    if (c.groups != c.w[0] && c.groups > 1) continue;  // no depthwise one, but a product
    const ConvShape s = c.shape();
    const Operands operands(s, DType::bf16);
    const Results expected = by_simple_kernels(s, operands.on_cuda(DType::f32));
    const AtPrecision guard(Precision::bf16);
    check_close(by_chosen_kernels(s, operands.on_cuda(DType::f32)), expected, s, {});
    check_close(by_chosen_kernels(s, operands.on_cuda(DType::bf16)), expected, s, kStoredResult);
  }
}

TEST_CASE("operands that are not aligned to 16 bytes") {
  const Case c = {"", {1, 5, 6, 8}, {8, 3, 3, 8}, 1, 1};
  const Case depthwise = {"", {1, 5, 6, 4}, {4, 3, 3, 1}, 1, 1, 1, 4};
  for (const Case& each : {c, depthwise})
    for (const DType stored : {DType::f32, DType::bf16}) {
      CAPTURE(stored);
      const ConvShape s = each.shape();
      const Operands operands(s, stored);
      const auto shifted = [stored](const Tensor& t) {
        Tensor longer({t.size() + 1});
        for (int64_t i = 0; i < t.size(); ++i)
          longer.mutable_data<float>()[i + 1] = t.data<float>()[i];
        return longer.to(stored).to(Device::cuda).view(1, t.shape());
      };
      Operands moved = operands.on_cuda(stored);
      moved.x = shifted(operands.x);
      moved.dy = shifted(operands.dy);
      check_close(by_chosen_kernels(s, moved), by_simple_kernels(s, operands.on_cuda(DType::f32)),
                  s, stored == DType::bf16 ? kStoredProduct : Roundings{});
    }
}

TEST_CASE("column sums of few and many rows and columns") {
  const auto check_sums = [](int64_t rows, int64_t columns, DType stored) {
    CAPTURE(rows);
    CAPTURE(columns);
    CAPTURE(stored);
    const Tensor x = Operands::floats({rows, columns}, 1).to(stored);
    Tensor sums({columns}, DType::f32, Device::cuda);
    column_sums("column sums", x.to(Device::cuda), rows, columns, sums);
    const Tensor got = sums.to(Device::cpu);
    const Tensor values = x.to(DType::f32);
    double squares = 0;
    double scale = 0;
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < rows; ++i)
        sum += static_cast<double>(values.data<float>()[i * columns + j]);
      const double error = static_cast<double>(got.data<float>()[j]) - sum;
      squares += error * error;
      scale += sum * sum;
    }
    CHECK(std::sqrt(squares) <= std::sqrt(static_cast<double>(rows)) * 0x1p-24 * std::sqrt(scale));
  };
  for (const int64_t rows : {0, 1, 7, 300, 5000})
    for (const int64_t columns : {1, 3, 100, 200, 300})
      for (const DType stored : {DType::f32, DType::bf16}) check_sums(rows, columns, stored);
}
