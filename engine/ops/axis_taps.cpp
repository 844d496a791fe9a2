#include "engine/ops/axis_taps.h"

#include <algorithm>
#include <utility>

#include "engine/core/parallel.h"

namespace decant {

int64_t AxisTaps::longest() const {
  int64_t most = 0;
  for (size_t i = 0; i + 1 < first.size(); ++i) most = std::max(most, first[i + 1] - first[i]);
  return most;
}

AxisTaps AxisTaps::transposed() const {
  AxisTaps t;
  t.inputs = outputs();
  t.map = map;
  t.is_transposed = !is_transposed;
  t.first.assign(static_cast<size_t>(inputs) + 1, 0);
  for (const int64_t i : index) ++t.first[static_cast<size_t>(i) + 1];
  for (size_t i = 1; i < t.first.size(); ++i) t.first[i] += t.first[i - 1];
  t.index.resize(index.size());
  t.weight.resize(index.size());
  std::vector<int64_t> next(t.first.begin(), t.first.end() - 1);
  for (int64_t output = 0; output < outputs(); ++output) {
    const auto row = static_cast<size_t>(output);
    for (auto k = static_cast<size_t>(first[row]); k < static_cast<size_t>(first[row + 1]); ++k) {
      const auto place = static_cast<size_t>(next[static_cast<size_t>(index[k])]++);
      t.index[place] = output;
      t.weight[place] = weight[k];
    }
  }
  return t;
}

AxisTaps nearest_taps(int64_t inputs, int64_t outputs) {
  AxisTaps taps = {.inputs = inputs,
                   .map = {.kind = AxisMap::Kind::nearest, .inputs = inputs, .outputs = outputs}};
  for (int64_t i = 0; i < outputs; ++i) {
    taps.add_tap(i * inputs / outputs, 1);
    taps.end_output();
  }
  return taps;
}

AxisTaps bilinear_taps(int64_t inputs, int64_t outputs, bool align_corners) {
  using enum AxisMap::Kind;
  AxisTaps taps = {.inputs = inputs,
                   .map = {.kind = align_corners ? bilinear_corners : bilinear,
                           .inputs = inputs,
                           .outputs = outputs}};
  const auto n = static_cast<double>(inputs);
  const auto m = static_cast<double>(outputs);
  for (int64_t i = 0; i < outputs; ++i) {
    const auto at = static_cast<double>(i);
    double position = 0;
    if (!align_corners)
      position = std::max(0.0, (at + 0.5) * n / m - 0.5);
    else if (outputs > 1)
      position = at * (n - 1) / (m - 1);
    const int64_t low = std::min(static_cast<int64_t>(position), inputs - 1);
    const double weight = position - static_cast<double>(low);
    const bool between = low + 1 < inputs && weight > 0;
    taps.add_tap(low, between ? 1 - weight : 1);
    if (between) taps.add_tap(low + 1, weight);
    taps.end_output();
  }
  return taps;
}

AxisTaps window_taps(int64_t inputs, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t outputs = (inputs + 2 * padding - kernel) / stride + 1;
  AxisTaps taps = {.inputs = inputs,
                   .map = {.kind = AxisMap::Kind::window,
                           .inputs = inputs,
                           .outputs = outputs,
                           .kernel = kernel,
                           .stride = stride,
                           .padding = padding}};
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t start = i * stride - padding;
    const int64_t end = std::min(inputs, start + kernel);
    for (int64_t k = std::max<int64_t>(0, start); k < end; ++k)
      taps.add_tap(k, 1 / static_cast<double>(kernel));
    taps.end_output();
  }
  return taps;
}

AxisTaps adaptive_taps(int64_t inputs, int64_t outputs) {
  AxisTaps taps = {.inputs = inputs,
                   .map = {.kind = AxisMap::Kind::adaptive, .inputs = inputs, .outputs = outputs}};
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t start = i * inputs / outputs;
    const int64_t end = ((i + 1) * inputs + outputs - 1) / outputs;
    for (int64_t k = start; k < end; ++k) taps.add_tap(k, 1 / static_cast<double>(end - start));
    taps.end_output();
  }
  return taps;
}

namespace cpu {
namespace {

struct Taps {
  const int64_t* index;
  const double* weight;
  int64_t count;
};

Taps taps_of(const AxisTaps& axis, int64_t output) {
  const auto i = static_cast<size_t>(output);
  return {axis.index.data() + axis.first[i], axis.weight.data() + axis.first[i],
          axis.first[i + 1] - axis.first[i]};
}

// sum = weight x, or sum += weight x
template <class Acc, class T>
void add_weighted(Acc* sum, const T* x, double weight, int64_t count, bool begin) {
  const Acc w = static_cast<Acc>(weight);
  if (begin)
    for (int64_t i = 0; i < count; ++i) sum[i] = w * static_cast<Acc>(x[i]);
  else
    for (int64_t i = 0; i < count; ++i) sum[i] += w * static_cast<Acc>(x[i]);
}

// One output row: first the weighted sum of input rows, [W, C] long, then that along the row.
template <class Acc, class T>
void map_row(Taps rows, const AxisTaps& columns, View<const T> x, View<T> y, int64_t n, int64_t oh,
             std::vector<Acc>& buffer) {
  const int64_t c = x.c;
  const int64_t length = x.w * c;
  buffer.resize(static_cast<size_t>(length + c));
  Acc* const combined = buffer.data();
  Acc* const sum = combined + length;
  if (rows.count == 0) std::fill_n(combined, length, Acc(0));
  for (int64_t k = 0; k < rows.count; ++k) {
    const T* row = x.pixel(n, rows.index[k], 0);
    if (x.pixel_stride == c)
      add_weighted(combined, row, rows.weight[k], length, k == 0);
    else
      for (int64_t iw = 0; iw < x.w; ++iw)
        add_weighted(combined + iw * c, row + iw * x.pixel_stride, rows.weight[k], c, k == 0);
  }
  for (int64_t ow = 0; ow < y.w; ++ow) {
    const Taps taps = taps_of(columns, ow);
    T* out = y.pixel(n, oh, ow);
    if (taps.count == 1) {
      const Acc* in = combined + taps.index[0] * c;
      const Acc w = static_cast<Acc>(taps.weight[0]);
      for (int64_t i = 0; i < c; ++i) out[i] = static_cast<T>(w * in[i]);
    } else if (taps.count == 2) {
      const Acc* a = combined + taps.index[0] * c;
      const Acc* b = combined + taps.index[1] * c;
      const Acc u = static_cast<Acc>(taps.weight[0]);
      const Acc v = static_cast<Acc>(taps.weight[1]);
      for (int64_t i = 0; i < c; ++i) out[i] = static_cast<T>(u * a[i] + v * b[i]);
    } else if (c == 1) {  // a register instead of a sum in memory for each tap
      Acc total(0);
      for (int64_t k = 0; k < taps.count; ++k)
        total += static_cast<Acc>(taps.weight[k]) * combined[taps.index[k]];
      out[0] = static_cast<T>(total);
    } else {
      std::fill_n(sum, c, Acc(0));
      for (int64_t k = 0; k < taps.count; ++k)
        add_weighted(sum, combined + taps.index[k] * c, taps.weight[k], c, false);
      for (int64_t i = 0; i < c; ++i) out[i] = static_cast<T>(sum[i]);
    }
  }
}

// One tap of every output, or two neighbours: what a row of one channel is mapped by.
template <class Acc>
struct TwoTaps {
  std::vector<int64_t> first, second;
  std::vector<Acc> first_weight, second_weight;

  explicit TwoTaps(const AxisTaps& axis) {
    for (int64_t i = 0; i < axis.outputs(); ++i) {
      const Taps taps = taps_of(axis, i);
      const bool two = taps.count == 2;
      first.push_back(taps.index[0]);
      first_weight.push_back(static_cast<Acc>(taps.weight[0]));
      second.push_back(taps.index[two ? 1 : 0]);
      second_weight.push_back(two ? static_cast<Acc>(taps.weight[1]) : Acc(0));
    }
  }
  static bool fit(const AxisTaps& axis) {
    for (size_t i = 0; i + 1 < axis.first.size(); ++i) {
      const auto k = static_cast<size_t>(axis.first[i]);
      const int64_t count = axis.first[i + 1] - axis.first[i];
      if (count < 1 || count > 2) return false;
      if (count == 2 && axis.index[k + 1] != axis.index[k] + 1) return false;
    }
    return true;
  }

  template <class T>
  void map(const T* row, std::vector<Acc>& out) const {
    out.resize(first.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const Acc a = first_weight[i] * static_cast<Acc>(row[first[i]]);
      const Acc b = second_weight[i] * static_cast<Acc>(row[second[i]]);
      out[i] = second[i] == first[i] ? a : a + b;  // 0 times infinity would be no number
    }
  }
};

// Of images of one channel, whose pixels lie side by side, along the rows first: a mapped row of x
// serves several rows of y.
template <class Acc, class T>
void map_planes(const AxisTaps& rows, const AxisTaps& columns, View<const T> x, View<T> y) {
  const TwoTaps<Acc> along(columns);
  parallel_ranges(
      y.n * y.h, std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, y.w)),
      [&](int64_t begin, int64_t end) {
        std::vector<Acc> mapped[2];  // of even rows and of odd ones: neighbours are both there
        int64_t held[2] = {-1, -1};  // rows of x, counted through all images
        const auto mapped_row = [&](int64_t n, int64_t row) -> const std::vector<Acc>& {
          const int64_t index = n * x.h + row;
          const int64_t place = index % 2;
          if (std::exchange(held[place], index) != index)
            along.map(x.pixel(n, row, 0), mapped[place]);
          return mapped[place];
        };
        for (int64_t line = begin; line < end; ++line) {
          const int64_t n = line / y.h;
          const Taps taps = taps_of(rows, line % y.h);
          T* out = y.pixel(n, line % y.h, 0);
          const auto w = static_cast<Acc>(taps.weight[0]);
          const Acc* a = mapped_row(n, taps.index[0]).data();
          if (taps.count == 1) {
            for (int64_t i = 0; i < y.w; ++i) out[i] = static_cast<T>(w * a[i]);
            continue;
          }
          const auto u = static_cast<Acc>(taps.weight[1]);
          const Acc* b = mapped_row(n, taps.index[1]).data();
          for (int64_t i = 0; i < y.w; ++i) out[i] = static_cast<T>(w * a[i] + u * b[i]);
        }
      });
}

template <class Acc, class T>
void map_images(const AxisTaps& rows, const AxisTaps& columns, View<const T> x, View<T> y) {
  if (x.c == 1 && x.pixel_stride == 1 && y.pixel_stride == 1 && TwoTaps<Acc>::fit(rows) &&
      TwoTaps<Acc>::fit(columns))
    return map_planes<Acc>(rows, columns, x, y);
  const int64_t row_size = std::max<int64_t>(1, std::max(x.w, y.w) * x.c);
  parallel_ranges(
      y.n * y.h, std::max<int64_t>(1, kElementGrain / row_size), [&](int64_t begin, int64_t end) {
        std::vector<Acc> buffer;
        for (int64_t row = begin; row < end; ++row)
          map_row(taps_of(rows, row % y.h), columns, x, y, row / y.h, row % y.h, buffer);
      });
}

}  // namespace

void apply_taps(const AxisTaps& rows, const AxisTaps& columns, const Tensor& x, Tensor& y,
                ChannelSlice slice) {
  constexpr int64_t kManyTaps = 8;  // along either axis: from there on float32 adds up in float64
  const bool many = std::max(rows.longest(), columns.longest()) > kManyTaps;
  with_real_type(x.dtype(), [&]<class T>() {
    const View<const T> from =
        view_of<T>(x, "apply_taps").channels(slice.x_channel, slice.channels);
    const View<T> to =
        mutable_view_of<T>(y, "apply_taps").channels(slice.y_channel, slice.channels);
    many ? map_images<double>(rows, columns, from, to) : map_images<T>(rows, columns, from, to);
  });
}

}  // namespace cpu
}  // namespace decant
