// Forward pass and input gradient as implicit matrix products. A row of A is a pixel of the result,
// its depth all (tap, channel) pairs that it reads, gathered while they are copied to shared
// memory; B is the weights, a column an output channel. A block computes a tile of one group, or of
// a bundle of small groups side by side, as one with zeros between its groups. The input gradient
// with a stride is one such product for each remainder of row and column by the stride, each with
// the taps that meet it.
//
// What bounds it, by count on an H200 (mma.sync in bf16 some 600 TFLOP/s, L2 some 5.5 TB/s, memory
// 4.8 TB/s), not measured. A wide tile of bf16 does 64 operations per byte copied, at full rate 9
// TB/s: from 64 channels on, the copies. The taps of a line copy almost the same pixels, so these
// go by way of L1. A tile of few outputs is bound by the products with columns that are not there:
// 3 x 3 of 16 to 16 channels at 256 x 256, batch 64, is 0.27 GB, 56 us, and, half of whose 32
// columns were zeros, 52 GFLOP; hence the slim tile.
#include "engine/ops/conv2d_gather.cuh"
#include "engine/ops/conv2d_tile.cuh"

namespace decant::cuda::gemm {
namespace {

/// Pixels of the result that read the same taps: those of rows first_h + i
/// step, columns likewise.
struct Phase {
  Gather gather;
  int first_h, first_w;
};

template <class T>
struct GatherProduct {
  const T* source;
  const T* weights;
  const float* bias;
  T* result;
  float* partial;  // [parts, size of the result], written in its place where there are several
  int64_t part_size;
  int parts;
  int phases;
  std::array<Phase, kMaxStride * kMaxStride> phase;
  // Channels of a pixel of the source, of a bundle and of a group; of the
  // result, outputs.
  int source_channels, channels, group_channels;
  int result_channels, outputs, group_outputs;
  Divider by_channels, by_group_channels, by_group_outputs, by_column_tiles;
  int bundles;
  int result_h, result_w, step;
  int kh, kw;
  bool together;  // see tile::store
};

/// The weight of (depth, output) of a bundle; null, that is zero, between two
/// of its groups. Weights lie as [outputs, kh, kw, channels of a group] in the
/// forward pass, in the input gradient as [channels, kh, kw, outputs of a
/// group].
template <bool kAlongDepth, class T>
const __device__ T* weight(const GatherProduct<T>& g, const Gather& from, int bundle, int k,
                           int output) {
  if (k >= from.rows.count * from.columns.count * g.channels || output >= g.outputs) return nullptr;
  int tap = k;
  const int channel = g.by_channels.split(tap);
  int channel_group = channel;
  const int channel_in_group = g.by_group_channels.split(channel_group);
  int output_group = output;
  const int output_in_group = g.by_group_outputs.split(output_group);
  if (channel_group != output_group) return nullptr;
  const int s = from.by_tap_columns.split(tap);
  const int r = from.rows.first + tap * from.rows.every;
  const int t = r * g.kw + from.columns.first + s * from.columns.every;
  const int filter = kAlongDepth ? bundle * g.outputs + output : bundle * g.channels + channel;
  const int row = filter * g.kh * g.kw + t;
  return kAlongDepth ? g.weights + static_cast<int64_t>(row) * g.group_channels + channel_in_group
                     : g.weights + static_cast<int64_t>(row) * g.group_outputs + output_in_group;
}

template <Precision kPrecision, class B, bool kWeightsAlongDepth, bool kAligned>
__global__ __launch_bounds__(B::kThreads, kPrecision == Precision::f32 ? 1 : 2) void gather_kernel(
    GatherProduct<typename B::Stored> g) {
  MOST_THREADS(B::kThreads);
  using T = typename B::Stored;
  using Left = tile::Operand<T, B::kM, true>;
  using Right = tile::Operand<T, B::kN, kWeightsAlongDepth>;
  const int part = static_cast<int>(blockIdx.z) % g.parts;
  const Phase& phase = g.phase[blockIdx.z / static_cast<unsigned>(g.parts)];
  const Gather& from = phase.gather;
  const int bundle = static_cast<int>(blockIdx.y);
  int row_tile = static_cast<int>(blockIdx.x);
  const int first_output = g.by_column_tiles.split(row_tile) * B::kN;
  const int first_pixel = row_tile * B::kM;
  if (first_pixel >= from.pixels) return;  // a larger phase needs this block

  // The pixels that this thread fetches, in the order in which tile::fetch asks
  // for them.
  constexpr int kFetched = B::kM * Left::kCopies / B::kThreads;
  Gather::Pixel fetched[kFetched];
#pragma unroll
  for (int i = 0; i < kFetched; ++i) {
    const int index =
        first_pixel + static_cast<int>(threadIdx.x) / Left::kCopies + i * (B::kM / kFetched);
    fetched[i] = from.pixel(index);
    if (index >= from.pixels) fetched[i].i = -(1 << 20);  // outside for every tap
  }

  const int depth = from.rows.count * from.columns.count * g.channels;
  const Part mine = part_of((depth + B::kDepth - 1) / B::kDepth, g.parts, part);
  tile::Sums<B> sums;
  tile::accumulate<kPrecision, B, Left, Right>(mine.count, sums, [&](int step, T* a, T* b) {
    const int first = (mine.first + step) * B::kDepth;
    tile::fetch<B, Left, kAligned ? tile::Copies::kAgain : tile::Copies::kApart>(
        a, g.source, [&](int /*row*/, int k, int i) -> const T* {
          if (first + k >= depth) return nullptr;
          int tap = first + k;
          const int channel = g.by_channels.split(tap);
          const int tap_column = from.by_tap_columns.split(tap);
          const int at = from.source(fetched[i], tap, tap_column);
          return at < 0 ? nullptr
                        : g.source + static_cast<int64_t>(at) * g.source_channels +
                              bundle * g.channels + channel;
        });
    tile::fetch<B, Right, kAligned ? tile::Copies::kOnce : tile::Copies::kApart>(
        b, g.weights, [&](int output, int k, int /*i*/) {
          return weight<kWeightsAlongDepth>(g, from, bundle, first + k, first_output + output);
        });
  });

  const auto write = [&](auto* result, const float* bias) {
    result += bundle * g.outputs;
    tile::store<B>(
        sums, first_output, g.outputs, bias, g.together, [&](int row) -> decltype(result) {
          if (first_pixel + row >= from.pixels) return nullptr;
          const Gather::Pixel p = from.pixel(first_pixel + row);
          const int h = phase.first_h + p.i * g.step;
          const int w = phase.first_w + p.j * g.step;
          return result + static_cast<int64_t>((p.image * g.result_h + h) * g.result_w + w) *
                              g.result_channels;
        });
  };
  if (g.parts > 1)
    write(g.partial + part * g.part_size, nullptr);
  else
    write(g.result, g.bias == nullptr ? nullptr : g.bias + bundle * g.outputs);
}

constexpr int kRows = 128;  // of all tiles
enum class Columns { wide = 128, medium = 64, narrow = 32, slim = 16 };

// With tensor cores few warps of large parts, which read less from shared memory; without them many
// warps, since a lane has no room for more sums.
template <class T, Precision kPrecision>
struct Tiles {
  static constexpr bool kCores = kPrecision != Precision::f32;
  using Wide = tile::Block<T, kRows, 128, 2, kCores ? 2 : 4>;
  using Medium = tile::Block<T, kRows, 64, kCores ? 2 : 4, 2>;
  using Narrow = tile::Block<T, kRows, 32, 4, kCores ? 1 : 2>;
  using Slim = tile::Block<T, kRows, 16, 4, 1>;
};

template <Precision kPrecision, class B, bool kWeightsAlongDepth, bool kAligned>
void launch_tiles(const char* op, GatherProduct<typename B::Stored> g, int64_t pixels) {
  using Left = tile::Operand<typename B::Stored, B::kM, true>;
  using Right = tile::Operand<typename B::Stored, B::kN, kWeightsAlongDepth>;
  const unsigned column_tiles = blocks_for(g.outputs, B::kN);
  g.by_column_tiles = Divider(column_tiles);
  const dim3 blocks(blocks_for(pixels, B::kM) * column_tiles, static_cast<unsigned>(g.bundles),
                    static_cast<unsigned>(g.phases * g.parts));
  tile::with_fitting<B, Left, Right>([&]<class Fitting>() {
    launch(op, gather_kernel<kPrecision, Fitting, kWeightsAlongDepth, kAligned>,
           {.blocks = blocks,
            .threads = B::kThreads,
            .shared_bytes = tile::kSharedBytes<Fitting, Left, Right>},
           g);
  });
}

// The tile that suits a product, as a function of its shape alone.
template <class T>
Columns columns_for(const GatherProduct<T>& g, int64_t pixels, bool aligned) {
  if (g.outputs <= static_cast<int>(Columns::slim)) return Columns::slim;
  if (!aligned) return Columns::medium;
  if (g.outputs <= static_cast<int>(Columns::narrow)) return Columns::narrow;
  if (g.outputs <= static_cast<int>(Columns::medium)) return Columns::medium;
  const int64_t blocks = int64_t{blocks_for(pixels, kRows)} *
                         blocks_for(g.outputs, static_cast<int>(Columns::wide)) * g.bundles;
  return blocks < kBlocksToFill ? Columns::medium : Columns::wide;
}

template <Precision kPrecision, bool kAlongDepth, class T>
void launch_in_mode(const char* op, const GatherProduct<T>& g, int64_t pixels, Columns columns,
                    bool aligned) {
  using Sized = Tiles<T, kPrecision>;
  if (columns == Columns::slim && !aligned)
    launch_tiles<kPrecision, typename Sized::Slim, kAlongDepth, false>(op, g, pixels);
  else if (!aligned)
    launch_tiles<kPrecision, typename Sized::Medium, kAlongDepth, false>(op, g, pixels);
  else if (columns == Columns::slim)
    launch_tiles<kPrecision, typename Sized::Slim, kAlongDepth, true>(op, g, pixels);
  else if (columns == Columns::wide)
    launch_tiles<kPrecision, typename Sized::Wide, kAlongDepth, true>(op, g, pixels);
  else if (columns == Columns::medium)
    launch_tiles<kPrecision, typename Sized::Medium, kAlongDepth, true>(op, g, pixels);
  else
    launch_tiles<kPrecision, typename Sized::Narrow, kAlongDepth, true>(op, g, pixels);
}

// What is left to say of a product whose shape and phases are there.
template <bool kAlongDepth, class T>
void multiply(const char* op, GatherProduct<T> g, const Tensor& source, const Tensor& weights,
              const Tensor& bias, Tensor& result) {
  g.source = source.device_data<T>();
  g.weights = weights.device_data<T>();
  g.bias = data_or_null(bias);
  g.result = result.mutable_device_data<T>();
  g.part_size = result.size();
  g.together = g.group_outputs % tile::kTogether<T> == 0 && is_aligned(g.result, 8);
  // Copies of several channels of the source and, of the weights, of channels or outputs.
  const bool aligned = g.group_channels % tile::kCopied<T> == 0 &&
                       (kAlongDepth || g.group_outputs % tile::kCopied<T> == 0) &&
                       is_aligned(g.source, tile::kCopyBytes) &&
                       is_aligned(g.weights, tile::kCopyBytes);
  int64_t pixels = 0;
  int64_t depth = 0;
  for (int i = 0; i < g.phases; ++i) {
    const Gather& from = g.phase[static_cast<size_t>(i)].gather;
    pixels = std::max<int64_t>(pixels, from.pixels);
    depth = std::max<int64_t>(depth, int64_t{from.rows.count} * from.columns.count * g.channels);
  }
  const Columns columns = columns_for(g, pixels, aligned);
  const int64_t blocks = int64_t{blocks_for(pixels, kRows)} *
                         blocks_for(g.outputs, static_cast<int>(columns)) * g.bundles;
  g.parts = parts_for(blocks * g.phases, blocks_for(depth, tile::kDepthOf<T>));
  Tensor partial;
  if (g.parts > 1) {
    partial = Tensor({g.parts, g.part_size}, DType::f32, Device::cuda);
    g.partial = partial.mutable_device_data<float>();
  }
  in_mode<T>([&]<Precision kPrecision>(Mode<kPrecision>) {
    launch_in_mode<kPrecision, kAlongDepth>(op, g, pixels, columns, aligned);
  });
  if (g.parts > 1) sum_parts(op, partial, bias, result);
}

// All that both passes have in common; w is read from one side or from the
// other.
template <class T>
GatherProduct<T> product_of(const ConvShape& s, int64_t source_channels, int64_t result_channels) {
  const int64_t channels = source_channels / s.groups;
  const int64_t outputs = result_channels / s.groups;
  // As many groups side by side as fill the narrow tile.
  int64_t bundle =
      std::min(s.groups, static_cast<int>(Columns::narrow) / std::max(channels, outputs));
  while (bundle > 1 && s.groups % bundle != 0) --bundle;
  bundle = std::max<int64_t>(1, bundle);
  GatherProduct<T> g = {};
  g.source_channels = static_cast<int>(source_channels);
  g.channels = static_cast<int>(channels * bundle);
  g.group_channels = static_cast<int>(channels);
  g.result_channels = static_cast<int>(result_channels);
  g.outputs = static_cast<int>(outputs * bundle);
  g.group_outputs = static_cast<int>(outputs);
  g.by_channels = Divider(g.channels);
  g.by_group_channels = Divider(channels);
  g.by_group_outputs = Divider(outputs);
  g.bundles = static_cast<int>(s.groups / bundle);
  g.kh = static_cast<int>(s.kh);
  g.kw = static_cast<int>(s.kw);
  return g;
}

}  // namespace

bool takes(const ConvShape& s) {
  constexpr int64_t kMost = (int64_t{1} << 31) - (1 << 16);  // numbers of pixels are ints
  return s.stride <= kMaxStride && s.n * s.h * s.w < kMost && s.n * s.ho * s.wo < kMost &&
         s.kh * s.kw * std::max(s.c_in, s.c_out) < kMost && s.groups < (1 << 16);
}

void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y) {
  with_stored_type(x.dtype(), [&]<class T>() {
    GatherProduct<T> g = product_of<T>(s, s.c_in, s.c_out);
    g.result_h = static_cast<int>(s.ho);
    g.result_w = static_cast<int>(s.wo);
    g.step = 1;
    g.phases = 1;
    g.phase[0] = {.gather = gather(s.n, s.ho, s.wo, forward_taps(s, s.kh, s.top),
                                   forward_taps(s, s.kw, s.left), s.h, s.w),
                  .first_h = 0,
                  .first_w = 0};
    multiply<true>("conv2d", g, x, w, bias, y);
  });
}

void input_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                    Tensor& dx) {
  const auto pixels_from = [&](int64_t first, int64_t size) {
    return (size - first + s.stride - 1) / s.stride;
  };
  with_stored_type(dy.dtype(), [&]<class T>() {
    GatherProduct<T> g = product_of<T>(s, s.c_out, s.c_in);
    g.result_h = static_cast<int>(s.h);
    g.result_w = static_cast<int>(s.w);
    g.step = static_cast<int>(s.stride);
    for (int64_t h = 0; h < std::min(s.stride, s.h); ++h)
      for (int64_t v = 0; v < std::min(s.stride, s.w); ++v)
        g.phase[static_cast<size_t>(g.phases++)] = {
            .gather = gather(s.n, pixels_from(h, s.h), pixels_from(v, s.w),
                             input_gradient_taps(s, s.kh, s.top, h),
                             input_gradient_taps(s, s.kw, s.left, v), s.ho, s.wo),
            .first_h = static_cast<int>(h),
            .first_w = static_cast<int>(v)};
    multiply<false>("conv2d, input gradient", g, dy, w, bias, dx);
  });
}

}  // namespace decant::cuda::gemm
