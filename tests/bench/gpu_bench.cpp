// What the card can do, and what the convolution kernels make of it:
//   gpu_bench [--tiny] [--json FILE]
// copy: a large device-to-device copy, bytes read and written. launch: a kernel with nothing to do,
// many in a row. product: a large product through blas in each mode. conv: the three passes of each
// layer below in each mode, beside the floor: the longest of a launch, its bytes at the copy's rate
// and its arithmetic at the product's; which of them that is, is its limit. In the mode bf16 images
// are stored as bfloat16, as in a network. Times are medians of events around several calls on
// operands that together exceed the card's cache. --tiny: small shapes and one call each, to see
// that it runs.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/core/bf16.h"
#include "engine/core/precision.h"
#include "engine/core/rng.h"
#include "engine/core/tensor.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/card.h"
#include "engine/cuda/stream.h"
#include "engine/ops/cast_kernels.h"
#include "engine/ops/conv2d_passes.h"
#include "tests/bench/conv_layer.h"

using namespace decant;
using Json = nlohmann::ordered_json;

namespace {

// NOLINTBEGIN(modernize-use-designated-initializers): a table, its columns named by the struct
const bench::ConvLayer kLayers[] = {
    {"stem 7x7 s2", 64, 256, 3, 64, 7, 2, 1},
    {"64ch 64", 64, 64, 64, 64, 3, 1, 1},
    {"128ch 32", 64, 32, 128, 128, 3, 1, 1},
    {"256ch 16", 64, 16, 256, 256, 3, 1, 1},
    {"512ch 8", 64, 8, 512, 512, 3, 1, 1},
    {"128->256 s2", 64, 32, 128, 256, 3, 2, 1},
    {"768->256 16", 64, 16, 768, 256, 3, 1, 1},
    {"128->32 128", 64, 128, 128, 32, 3, 1, 1},
    {"32->16 256", 64, 256, 32, 16, 3, 1, 1},
    {"16->1 256", 64, 256, 16, 1, 3, 1, 1},
    {"1x1 256->1024 14", 64, 14, 256, 1024, 1, 1, 1},
    {"32x8d 256ch 56", 64, 56, 256, 256, 3, 1, 32},
    {"32x8d 1024ch 14", 64, 14, 1024, 1024, 3, 1, 32},
    {"depthwise 5x5 96ch", 64, 28, 96, 96, 5, 1, 96},
};
// NOLINTEND(modernize-use-designated-initializers)

constexpr Precision kModes[] = {Precision::f32, Precision::tf32, Precision::bf16};

bool tiny = false;

// What an image holds in this mode.
DType stored_in(Precision mode) {
  return mode == Precision::bf16 ? DType::bf16 : DType::f32;
}

Tensor noise(const Shape& shape, uint64_t seed, DType dtype) {
  Tensor t(shape);
  const Rng rng(RngKey::of(seed, "bench"));
  uint64_t i = 0;
  for (float& v : t.mutable_values<float>()) v = static_cast<float>(rng.uniform(i++, -1, 1));
  return t.to(dtype).to(Device::cuda);
}

// Large noise, made by repeating some: drawing it all on the host would take minutes.
Tensor much_noise(const Shape& shape, uint64_t seed, DType dtype = DType::f32) {
  constexpr int64_t kDrawn = 1 << 20;
  if (shape.size() <= kDrawn) return noise(shape, seed, dtype);
  const Tensor part = noise({kDrawn}, seed, dtype);
  Tensor t(shape, dtype, Device::cuda);
  for (int64_t i = 0; i < t.size(); i += kDrawn) {
    const int64_t count = std::min(kDrawn, t.size() - i);
    t.view(i, {count}).copy_from(part.view(0, {count}));
  }
  return t;
}

// Seconds of one call: call(i) may use operands number i of several.
double seconds(const std::function<void(int)>& call) {
  const int warm = tiny ? 1 : 3;
  const int rounds = tiny ? 1 : 7;
  for (int i = 0; i < warm; ++i) call(i);
  cuda::Event start(cuda::Event::Kind::timed);
  cuda::Event end(cuda::Event::Kind::timed);
  const auto time = [&](int calls) {
    start.record(cuda::compute_stream());
    for (int i = 0; i < calls; ++i) call(i);
    end.record(cuda::compute_stream());
    end.synchronize();
    return 1e-3 * static_cast<double>(end.milliseconds_since(start)) / calls;
  };
  const int calls = tiny ? 1 : std::clamp(static_cast<int>(5e-3 / std::max(time(2), 1e-7)), 2, 200);
  std::vector<double> times;
  for (int r = 0; r < rounds; ++r) times.push_back(time(calls));
  return std::max(bench::median(times), 1e-9);
}

double copy_bytes_per_second() {
  const int64_t count = tiny ? 1 << 16 : 1 << 28;  // 1 GiB
  const Tensor from = much_noise({count}, 1);
  Tensor to({count}, DType::f32, Device::cuda);
  return 2.0 * 4.0 * static_cast<double>(count) / seconds([&](int) { to.copy_from(from); });
}

double launch_seconds() {
  const Tensor from = noise({1}, 1, DType::f32);
  Tensor to({1}, DType::bf16, Device::cuda);
  return seconds([&](int) { cuda::convert(from, to); });
}

double product_flops_per_second(Precision mode) {
  const int64_t n = tiny ? 32 : 8192;
  const cuda::Product product{.m = n, .n = n, .k = n, .precision = mode};
  const Tensor a = much_noise({n, n}, 2, stored_in(mode));
  const Tensor b = much_noise({n, n}, 3, stored_in(mode));
  Tensor y({n, n}, stored_in(mode), Device::cuda);
  const auto multiply = [&]<class T>() {
    const T* left = a.device_data<T>();
    const T* right = b.device_data<T>();
    T* out = y.mutable_device_data<T>();
    return seconds([&](int) { cuda::product(product, left, right, out); });
  };
  const double time =
      mode == Precision::bf16 ? multiply.operator()<bf16>() : multiply.operator()<float>();
  return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / time;
}

// The shortest time that the card allows a kernel, and what makes it that long.
struct Floor {
  double seconds;
  const char* limit;
};

Floor floor_of(double flops, double bytes, Precision mode, const Json& ceilings) {
  const Floor floors[] = {
      {flops / ceilings.at("product").at(str(mode)).get<double>(), "arithmetic"},
      {bytes / ceilings.at("copy").get<double>(), "bytes"},
      {ceilings.at("launch").get<double>(), "launch"}};
  return *std::ranges::max_element(floors, {}, &Floor::seconds);
}

bench::ConvLayer tiny_form(bench::ConvLayer l) {
  const auto few = [&](int64_t channels) {
    return l.groups > 1 ? l.groups * std::min<int64_t>(channels / l.groups, 2)
                        : std::min<int64_t>(channels, 8);
  };
  l.batch = 1;
  l.size = std::min<int64_t>(l.size, 6);
  l.c_in = few(l.c_in);
  l.c_out = few(l.c_out);
  return l;
}

// Appends the three passes of one layer in one mode.
void conv_rows(const bench::ConvLayer& layer, Precision mode, const Json& ceilings, Json& rows) {
  const ConvShape s = bench::shape_of(layer);
  const Shape x_shape = {s.n, s.h, s.w, s.c_in};
  const Shape y_shape = {s.n, s.ho, s.wo, s.c_out};
  const Tensor w = much_noise({s.c_out, s.kh, s.kw, s.c_in / s.groups}, 30);
  Tensor dw(w.shape(), DType::f32, Device::cuda);
  const DType stored = stored_in(mode);
  const int64_t image_bytes =
      (x_shape.size() + y_shape.size()) * static_cast<int64_t>(size_of(stored));
  const double bytes = static_cast<double>(image_bytes) + 4.0 * static_cast<double>(w.size());

  // Several sets of operands, so that none is found in the cache.
  constexpr int64_t kCache = 128 << 20;
  const int64_t sets = tiny ? 1 : std::clamp<int64_t>(kCache / image_bytes + 1, 1, 16);
  std::vector<Tensor> x;
  std::vector<Tensor> y;
  for (int64_t i = 0; i < sets; ++i) {
    x.push_back(much_noise(x_shape, 10, stored));
    y.push_back(much_noise(y_shape, 20, stored));
  }
  const double flops = bench::flops_of(layer);
  const auto [floor, limit] = floor_of(flops, bytes, mode, ceilings);
  const auto row = [&](const char* pass, const std::function<void(Tensor&, Tensor&)>& call) {
    const double time = seconds([&](int i) {
      const auto set = static_cast<size_t>(i % sets);
      call(x[set], y[set]);
    });
    rows.push_back({{"layer", layer.name},
                    {"pass", pass},
                    {"precision", str(mode)},
                    {"microseconds", 1e6 * time},
                    {"tflops", 1e-12 * flops / time},
                    {"gb_per_s", 1e-9 * bytes / time},
                    {"of_ceiling", floor / time},
                    {"limit", limit}});
  };
  set_precision(mode);
  row("forward", [&](Tensor& in, Tensor& out) { cuda::conv2d_forward(s, in, w, {}, out); });
  if (s.c_in > 3)  // nobody asks for the gradient of the image
    row("input gradient",
        [&](Tensor& in, Tensor& out) { cuda::conv2d_input_gradient(s, out, w, {}, in); });
  row("weight gradient",
      [&](Tensor& in, Tensor& out) { cuda::conv2d_weight_gradient(s, in, out, dw); });
  set_precision(Precision::f32);
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--tiny") {
      tiny = true;
    } else if (word == "--json" && i + 1 < argc) {
      file = argv[++i];
    } else {
      std::fprintf(stderr, "gpu_bench: expected --tiny or --json FILE, got %s\n", word.c_str());
      return 2;
    }
  }
  try {
    Json ceilings;
    ceilings["copy"] = copy_bytes_per_second();
    std::printf("copy %.0f GB/s\n", 1e-9 * ceilings["copy"].get<double>());
    ceilings["launch"] = launch_seconds();
    std::printf("launch %.1f us\n", 1e6 * ceilings["launch"].get<double>());
    for (const Precision mode : kModes) {
      ceilings["product"][str(mode)] = product_flops_per_second(mode);
      std::printf("product %s %.1f TFLOP/s\n", str(mode).c_str(),
                  1e-12 * ceilings["product"][str(mode)].get<double>());
    }
    Json rows = Json::array();
    for (const bench::ConvLayer& layer : kLayers)
      for (const Precision mode : kModes)
        conv_rows(tiny ? tiny_form(layer) : layer, mode, ceilings, rows);
    for (const Json& row : rows)
      std::printf("%-20s %-16s %-8s %9.1f us %7.1f TFLOP/s %6.0f GB/s %4.0f %% of the floor (%s)\n",
                  row["layer"].get<std::string>().c_str(), row["pass"].get<std::string>().c_str(),
                  row["precision"].get<std::string>().c_str(), row["microseconds"].get<double>(),
                  row["tflops"].get<double>(), row["gb_per_s"].get<double>(),
                  100 * row["of_ceiling"].get<double>(), row["limit"].get<std::string>().c_str());
    const Json json = {{"card", cuda::card().name}, {"ceilings", ceilings}, {"conv", rows}};
    if (!file.empty()) std::ofstream(file) << json.dump(1) << "\n";
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
