// One thread per result, or per 16 bytes of neighbouring channels: it computes the taps of its row
// and its column and gathers. Reads x once from memory (what neighbours share comes from the cache)
// and writes y: bound by memory for few taps, by arithmetic for the gradients of bilinear maps.
#include "engine/cuda/kernel.cuh"
#include "engine/cuda/vectors.cuh"
#include "engine/ops/axis_taps.h"
#include "engine/ops/image_place.cuh"
#include "engine/ops/reduce_kernels.h"

namespace decant::cuda {
namespace {

// The inputs first to end - 1 of an output, and their weights.
struct Taps {
  int64_t first, end;
  float first_weight, other_weight;

  __device__ float weight(int64_t input) const {
    return input < first || input >= end ? 0.0F : input == first ? first_weight : other_weight;
  }
};

// Bilinear positions are fractions: whole numbers say exactly between which inputs they lie.
struct Fraction {
  int64_t numerator, denominator;
};

__device__ Fraction position_of(const AxisMap& map, int64_t output) {
  if (map.kind == AxisMap::Kind::bilinear)
    return {max(int64_t{0}, (2 * output + 1) * map.inputs - map.outputs), 2 * map.outputs};
  return map.outputs > 1 ? Fraction{output * (map.inputs - 1), map.outputs - 1} : Fraction{0, 1};
}

__device__ Taps taps_of(const AxisMap& map, int64_t output) {
  switch (map.kind) {
    case AxisMap::Kind::nearest: {
      const int64_t input = output * map.inputs / map.outputs;
      return {input, input + 1, 1.0F, 0.0F};
    }
    case AxisMap::Kind::bilinear:
    case AxisMap::Kind::bilinear_corners: {
      const auto [numerator, denominator] = position_of(map, output);
      const int64_t low = numerator / denominator;
      const int64_t rest = numerator - low * denominator;
      if (rest == 0 || low + 1 >= map.inputs) return {low, low + 1, 1.0F, 0.0F};
      const auto whole = static_cast<float>(denominator);
      return {low, low + 2, static_cast<float>(denominator - rest) / whole,
              static_cast<float>(rest) / whole};
    }
    case AxisMap::Kind::window: {
      const int64_t start = output * map.stride - map.padding;
      const float weight = 1.0F / static_cast<float>(map.kernel);
      return {max(int64_t{0}, start), min(map.inputs, start + map.kernel), weight, weight};
    }
    case AxisMap::Kind::adaptive: {
      const int64_t start = output * map.inputs / map.outputs;
      const int64_t end = ((output + 1) * map.inputs + map.outputs - 1) / map.outputs;
      const float weight = 1.0F / static_cast<float>(end - start);
      return {start, end, weight, weight};
    }
  }
  return {0, 0, 0.0F, 0.0F};
}

// ceil(a / b) of b > 0, 0 where that is below
__device__ int64_t ceil_or_zero(int64_t a, int64_t b) {
  return a <= 0 ? 0 : (a + b - 1) / b;
}

// The first output whose position is at least `input`, of several inputs.
__device__ int64_t first_at(const AxisMap& map, int64_t input) {
  if (map.kind == AxisMap::Kind::bilinear)
    return input == 0 ? 0
                      : ceil_or_zero((2 * input + 1) * map.outputs - map.inputs, 2 * map.inputs);
  if (map.outputs == 1) return input == 0 ? 0 : 1;
  return ceil_or_zero(input * (map.outputs - 1), map.inputs - 1);
}

struct Range {
  int64_t first, end;
};

// All outputs that have a tap at `input`, and perhaps some that have not, whose weight is 0.
__device__ Range outputs_of(const AxisMap& map, int64_t input) {
  switch (map.kind) {
    case AxisMap::Kind::nearest:
      return {ceil_or_zero(input * map.outputs, map.inputs),
              ceil_or_zero((input + 1) * map.outputs, map.inputs)};
    case AxisMap::Kind::bilinear:
    case AxisMap::Kind::bilinear_corners:
      return {input == 0 ? 0 : first_at(map, input - 1),
              input + 1 >= map.inputs ? map.outputs : min(map.outputs, first_at(map, input + 1))};
    case AxisMap::Kind::window:
      return {max(int64_t{0}, (input + map.padding - map.kernel + map.stride) / map.stride),
              min(map.outputs, (input + map.padding) / map.stride + 1)};
    case AxisMap::Kind::adaptive:
      return {input * map.outputs / map.inputs,
              min(map.outputs, ceil_or_zero((input + 1) * map.outputs, map.inputs))};
  }
  return {0, 0};
}

// A matrix of two AxisMaps, or its transpose: whence a result gathers, and with which weight.
struct Forward {
  Taps taps;
  static __device__ Forward of(const AxisMap& map, int64_t result) {
    return {taps_of(map, result)};
  }
  __device__ Range range() const { return {taps.first, taps.end}; }
  __device__ float weight(int64_t source) const { return taps.weight(source); }
};
struct Transposed {
  const AxisMap& map;
  int64_t result;
  static __device__ Transposed of(const AxisMap& map, int64_t result) { return {map, result}; }
  __device__ Range range() const { return outputs_of(map, result); }
  __device__ float weight(int64_t source) const { return taps_of(map, source).weight(result); }
};

// Channels of images whose pixels lie `stride` elements apart.
struct Slice {
  int64_t h, w, stride;
};

template <class Direction, int kWidth, class T>
__global__ void apply_taps_kernel(AxisMap rows, AxisMap columns, const T* __restrict__ x,
                                  Slice from, T* __restrict__ y, Slice to, ImageSize size) {
  for (int64_t i = global_thread(); i < size.count(); i += all_threads()) {
    const ImagePlace place(size, i);
    const Direction row = Direction::of(rows, place.h);
    const Direction column = Direction::of(columns, place.w);
    const Range along_rows = row.range();
    const Range along_columns = column.range();
    Floats<kWidth> sum = {};
    for (int64_t h = along_rows.first; h < along_rows.end; ++h) {
      const T* in = x + (place.n * from.h + h) * from.w * from.stride + place.c * kWidth;
      Floats<kWidth> part = {};
      for (int64_t w = along_columns.first; w < along_columns.end; ++w) {
        const Floats<kWidth> values = load<kWidth>(in + w * from.stride);
        const float weight = column.weight(w);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) part.at[k] += weight * values.at[k];
      }
      const float weight = row.weight(h);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum.at[k] += weight * part.at[k];
    }
    store(y + ((place.n * to.h + place.h) * to.w + place.w) * to.stride + place.c * kWidth, sum);
  }
}

// Where there is one result along an axis, all of one weight: what every tap weighs, otherwise 0.
double weight_of_all(const AxisTaps& axis) {
  if (axis.outputs() != 1) return 0;
  if (axis.is_transposed) return axis.map.kind == AxisMap::Kind::window ? 0 : 1;
  return axis.map.kind == AxisMap::Kind::adaptive ? 1 / static_cast<double>(axis.inputs) : 0;
}

}  // namespace

void apply_taps(const AxisTaps& rows, const AxisTaps& columns, const Tensor& x, Tensor& y,
                ChannelSlice slice) {
  const Shape& from = x.shape();
  const Shape& to = y.shape();
  // The mean of an image, and the gradient of spreading one pixel: sums over many pixels for few
  // results, which a thread each would leave the card idle.
  const double weight = weight_of_all(rows) * weight_of_all(columns);
  if (weight > 0 && slice.channels == from[3] && slice.channels == to[3]) {
    sum_middle(x, {from[0], from[1] * from[2], from[3]}, weight, y);
    return;
  }
  with_stored_type(x.dtype(), [&]<class T>() {
    const T* in = x.device_data<T>() + slice.x_channel;
    T* out = y.mutable_device_data<T>() + slice.y_channel;
    with_width<T>({slice.channels, from[3], to[3]}, {in, out}, [&]<int kWidth>() {
      const ImageSize size = {to[0], to[1], to[2], slice.channels / kWidth};
      launch("apply_taps",
             rows.is_transposed ? apply_taps_kernel<Transposed, kWidth, T>
                                : apply_taps_kernel<Forward, kWidth, T>,
             grid_over(size.count()), rows.map, columns.map, in, Slice{from[1], from[2], from[3]},
             out, Slice{to[1], to[2], to[3]}, size);
    });
  });
}

}  // namespace decant::cuda
