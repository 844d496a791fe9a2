// Weight gradient as an implicit matrix product: a row of A is an output channel, a column of B a
// (tap, channel) pair, and the depth are the pixels of dy, for each of which B is gathered from x.
// Pixels are cut into parts by shape alone, which are added up in order.
//
// Bound by the copies from some 64 channels on, as conv2d_gemm.cu counts. Of few outputs, a tile of
// 64 rows mostly multiplied zeros: 3 x 3 of 16 to 16 channels at 256 x 256, batch 64, reads 0.27
// GB, 56 us, but took 103 GFLOP where 19 are asked for, and 34 with the tile of 16 x 128.
#include "engine/ops/conv2d_gather.cuh"
#include "engine/ops/conv2d_tile.cuh"

namespace decant::cuda::gemm {
namespace {

template <class T>
struct WeightProduct {
  const T* x;
  const T* dy;
  float* dw;  // [parts, outputs, taps, channels]
  int64_t part_size;
  int parts;
  Gather gather;
  int x_channels, channels;  // of a pixel; of a group
  int dy_channels, outputs;
  Divider by_channels, by_column_tiles;
  bool together;  // see tile::store
};

template <Precision kPrecision, class B, tile::Copies kOutputs, tile::Copies kChannels>
__global__ __launch_bounds__(
    B::kThreads, kPrecision == Precision::f32
                     ? 1
                     : 2) void weight_gradient_kernel(WeightProduct<typename B::Stored> g) {
  MOST_THREADS(B::kThreads);
  using T = typename B::Stored;
  using Left = tile::Operand<T, B::kM, false>;
  using Right = tile::Operand<T, B::kN, false>;
  const Gather& from = g.gather;
  const int group = static_cast<int>(blockIdx.y);
  const int part = static_cast<int>(blockIdx.z);
  int row_tile = static_cast<int>(blockIdx.x);
  const int first_column = g.by_column_tiles.split(row_tile) * B::kN;
  const int first_output = row_tile * B::kM;
  const int columns = from.rows.count * from.columns.count * g.channels;
  const Part mine = part_of((from.pixels + B::kDepth - 1) / B::kDepth, g.parts, part);

  tile::Sums<B> sums;
  tile::accumulate<kPrecision, B, Left, Right>(mine.count, sums, [&](int step, T* a, T* b) {
    const int first = (mine.first + step) * B::kDepth;
    tile::fetch<B, Left, kOutputs>(a, g.dy, [&](int row, int k, int /*i*/) -> const T* {
      const int output = first_output + row;
      if (output >= g.outputs || first + k >= from.pixels) return nullptr;
      return g.dy + static_cast<int64_t>(first + k) * g.dy_channels + group * g.outputs + output;
    });
    tile::fetch<B, Right, kChannels>(b, g.x, [&](int column, int k, int /*i*/) -> const T* {
      int tap = first_column + column;
      if (tap >= columns || first + k >= from.pixels) return nullptr;
      const int channel = g.by_channels.split(tap);
      const int tap_column = from.by_tap_columns.split(tap);
      const int at = from.source(from.pixel(first + k), tap, tap_column);
      return at < 0 ? nullptr
                    : g.x + static_cast<int64_t>(at) * g.x_channels + group * g.channels + channel;
    });
  });

  float* dw = g.dw + part * g.part_size;
  tile::store<B>(sums, first_column, columns, nullptr, g.together, [&](int row) {
    const int output = first_output + row;
    return output < g.outputs ? dw + static_cast<int64_t>(group * g.outputs + output) * columns
                              : nullptr;
  });
}

// Tiles for many outputs and columns, see conv2d_gemm.cu; for some of either; for few outputs, of
// the last layers and of groups, beside which larger tiles would mostly multiply zeros.
template <class T, Precision kPrecision>
using Wide = tile::Block<T, 128, 128, 2, kPrecision == Precision::f32 ? 4 : 2>;
template <class T>
using Small = tile::Block<T, 64, 64, 2, 2>;
template <class T>
using Few = tile::Block<T, 16, 128, 1, 4>;
enum class Tile { wide, small, few };

template <Precision kPrecision, class B, tile::Copies kOutputs, tile::Copies kChannels, class T>
void launch_tiles(WeightProduct<T> g, int64_t groups, int64_t columns) {
  using Operands = tile::Operand<T, B::kM, false>;
  using Columns = tile::Operand<T, B::kN, false>;
  const unsigned column_tiles = blocks_for(columns, B::kN);
  g.by_column_tiles = Divider(column_tiles);
  const dim3 blocks(blocks_for(g.outputs, B::kM) * column_tiles, static_cast<unsigned>(groups),
                    static_cast<unsigned>(g.parts));
  tile::with_fitting<B, Operands, Columns>([&]<class Fitting>() {
    launch("conv2d, weight gradient",
           weight_gradient_kernel<kPrecision, Fitting, kOutputs, kChannels>,
           {.blocks = blocks,
            .threads = B::kThreads,
            .shared_bytes = tile::kSharedBytes<Fitting, Operands, Columns>},
           g);
  });
}

// outputs_apart, channels_apart: they must be copied one by one.
template <class T>
void run(const WeightProduct<T>& g, int64_t groups, int64_t columns, Tile size, bool outputs_apart,
         bool channels_apart) {
  using enum tile::Copies;
  in_mode<T>([&]<Precision kPrecision>(Mode<kPrecision>) {
    if (size == Tile::wide)
      launch_tiles<kPrecision, Wide<T, kPrecision>, kOnce, kAgain>(g, groups, columns);
    else if (size == Tile::few && outputs_apart)
      launch_tiles<kPrecision, Few<T>, kApart, kAgain>(g, groups, columns);
    else if (size == Tile::few)
      launch_tiles<kPrecision, Few<T>, kOnce, kAgain>(g, groups, columns);
    else if (outputs_apart)
      launch_tiles<kPrecision, Small<T>, kApart, kApart>(g, groups, columns);
    else if (channels_apart)
      launch_tiles<kPrecision, Small<T>, kOnce, kApart>(g, groups, columns);
    else
      launch_tiles<kPrecision, Small<T>, kOnce, kAgain>(g, groups, columns);
  });
}

template <class T>
void multiply(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  constexpr int64_t kMaxPartialFloats = 16 << 20;
  const int64_t columns = s.kh * s.kw * s.c_in / s.groups;
  WeightProduct<T> g = {};
  g.x = x.device_data<T>();
  g.dy = dy.device_data<T>();
  g.part_size = dw.size();
  g.gather = gather(s.n, s.ho, s.wo, forward_taps(s, s.kh, s.top), forward_taps(s, s.kw, s.left),
                    s.h, s.w);
  g.x_channels = static_cast<int>(s.c_in);
  g.channels = static_cast<int>(s.c_in / s.groups);
  g.dy_channels = static_cast<int>(s.c_out);
  g.outputs = static_cast<int>(s.c_out / s.groups);
  g.by_channels = Divider(g.channels);

  const auto apart = [](const T* data, int channels) {
    return channels % tile::kCopied<T> != 0 || !is_aligned(data, tile::kCopyBytes);
  };
  const bool outputs_apart = apart(g.dy, g.outputs);
  const bool channels_apart = apart(g.x, g.channels);
  const bool few = !channels_apart && g.outputs <= Few<T>::kM;
  const bool many =
      !outputs_apart && !channels_apart && g.outputs > Small<T>::kM && columns > Small<T>::kN;
  const Tile size = few ? Tile::few : many ? Tile::wide : Tile::small;
  const int64_t rows_of_tile = few ? Few<T>::kM : many ? 128 : Small<T>::kM;
  const int64_t columns_of_tile = size == Tile::small ? Small<T>::kN : 128;
  const int64_t blocks = int64_t{blocks_for(g.outputs, rows_of_tile)} *
                         blocks_for(columns, columns_of_tile) * s.groups;
  const int64_t affordable = std::max<int64_t>(1, kMaxPartialFloats / g.part_size);
  const int64_t steps = blocks_for(g.gather.pixels, tile::kDepthOf<T>);
  g.parts = static_cast<int>(std::min<int64_t>(affordable, parts_for(blocks, steps)));
  Tensor partial;
  if (g.parts > 1) partial = Tensor({g.parts, g.part_size}, DType::f32, Device::cuda);
  Tensor& sums = g.parts > 1 ? partial : dw;
  g.dw = sums.mutable_device_data<float>();
  g.together = columns % tile::kTogether<float> == 0 && is_aligned(g.dw, 8);
  run(g, s.groups, columns, size, outputs_apart, channels_apart);
  if (g.parts > 1) sum_parts("conv2d, weight gradient", partial, {}, dw);
}

}  // namespace

void weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, Tensor& dw) {
  with_stored_type(x.dtype(), [&]<class T>() { multiply<T>(s, x, dy, dw); });
}

}  // namespace decant::cuda::gemm
