// What the card can do, and what the convolution kernels make of it:
//   gpu_bench [--tiny] [--json FILE]
// copy: a large device-to-device copy, bytes read and written. product: a large product through
// blas in each mode. conv: the three passes of each layer below in each mode, as a share of the
// best product in that mode or of the copy, whichever would take longer. Times are medians of
// events around several calls on operands that together exceed the card's cache. --tiny: small
// shapes and one call each, to see that it runs.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/core/precision.h"
#include "engine/core/rng.h"
#include "engine/core/tensor.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/card.h"
#include "engine/cuda/stream.h"
#include "engine/ops/conv2d_passes.h"
#include "engine/ops/optimizer.h"

using namespace decant;
using Json = nlohmann::ordered_json;

namespace {

struct Layer {
  const char* name;
  int64_t batch, size, c_in, c_out, kernel, stride, groups;
};

// NOLINTBEGIN(modernize-use-designated-initializers): a table, its columns named by the struct
const Layer kLayers[] = {
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

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor t(shape);
  const Rng rng(RngKey::of(seed, "bench"));
  uint64_t i = 0;
  for (float& v : t.mutable_values<float>()) v = static_cast<float>(rng.uniform(i++, -1, 1));
  return t.to(Device::cuda);
}

// Large noise, made by repeating some: drawing it all on the host would take minutes.
Tensor much_noise(const Shape& shape, uint64_t seed) {
  constexpr int64_t kDrawn = 1 << 20;
  if (shape.size() <= kDrawn) return noise(shape, seed);
  const Tensor part = noise({kDrawn}, seed);
  Tensor t(shape, DType::f32, Device::cuda);
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
  cuda::Event start;
  cuda::Event end;
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
  std::ranges::sort(times);
  return std::max(times[times.size() / 2], 1e-9);
}

double copy_bytes_per_second() {
  const int64_t count = tiny ? 1 << 16 : 1 << 28;  // 1 GiB
  const Tensor from = much_noise({count}, 1);
  Tensor to({count}, DType::f32, Device::cuda);
  return 2.0 * 4.0 * static_cast<double>(count) / seconds([&](int) { to.copy_from(from); });
}

double product_flops_per_second(Precision mode) {
  const int64_t n = tiny ? 32 : 8192;
  const cuda::Product product{.m = n, .n = n, .k = n, .precision = mode};
  const Tensor a = much_noise({n, n}, 2);
  const Tensor b = much_noise({n, n}, 3);
  Tensor y({n, n}, DType::f32, Device::cuda);
  auto* out = y.mutable_device_data<float>();
  const double flops =
      2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  return flops / seconds([&](int) {
           cuda::product(product, a.device_data<float>(), b.device_data<float>(), out);
         });
}

Json conv_rows(const Json& ceilings) {
  Json rows = Json::array();
  for (Layer l : kLayers) {
    if (tiny) {
      l.batch = 1;
      l.size = std::min<int64_t>(l.size, 6);
      l.c_in = l.groups > 1 ? l.groups * std::min<int64_t>(l.c_in / l.groups, 2)
                            : std::min<int64_t>(l.c_in, 8);
      l.c_out = l.groups > 1 ? l.c_in : std::min<int64_t>(l.c_out, 8);
    }
    const int64_t pad = l.kernel / 2;
    const int64_t out = (l.size + 2 * pad - l.kernel) / l.stride + 1;
    const ConvShape s{.n = l.batch,
                      .h = l.size,
                      .w = l.size,
                      .c_in = l.c_in,
                      .ho = out,
                      .wo = out,
                      .c_out = l.c_out,
                      .kh = l.kernel,
                      .kw = l.kernel,
                      .stride = l.stride,
                      .dilation = 1,
                      .groups = l.groups,
                      .top = pad,
                      .left = pad};
    // Several sets of operands, so that none is found in the cache.
    constexpr int64_t kCache = 128 << 20;
    const int64_t x_size = l.batch * l.size * l.size * l.c_in;
    const int64_t y_size = l.batch * out * out * l.c_out;
    const auto sets = static_cast<int>(
        tiny ? 1 : std::clamp<int64_t>(kCache / (4 * (x_size + y_size)) + 1, 1, 8));
    std::vector<Tensor> x;
    std::vector<Tensor> y;
    for (int i = 0; i < sets; ++i) {
      x.push_back(much_noise({l.batch, l.size, l.size, l.c_in}, 10));
      y.push_back(much_noise({l.batch, out, out, l.c_out}, 20));
    }
    Tensor w = much_noise({l.c_out, l.kernel, l.kernel, l.c_in / l.groups}, 30);
    const double flops =
        2.0 * static_cast<double>(y_size) * static_cast<double>(w.size() / l.c_out);
    const double bytes = 4.0 * static_cast<double>(x_size + y_size + w.size());
    for (const Precision mode : kModes) {
      set_precision(mode);
      const double floor = std::max(flops / ceilings.at("product").at(str(mode)).get<double>(),
                                    bytes / ceilings.at("copy").get<double>());
      const auto row = [&](const char* pass, const std::function<void(int)>& call) {
        const double time = seconds(call);
        rows.push_back({{"layer", l.name},
                        {"pass", pass},
                        {"precision", str(mode)},
                        {"microseconds", 1e6 * time},
                        {"tflops", 1e-12 * flops / time},
                        {"gb_per_s", 1e-9 * bytes / time},
                        {"of_ceiling", floor / time}});
      };
      row("forward", [&](int i) {
        cuda::conv2d_forward(s, x[static_cast<size_t>(i % sets)], w, {},
                             y[static_cast<size_t>(i % sets)]);
      });
      if (l.c_in > 3)  // nobody asks for the gradient of the image
        row("input gradient", [&](int i) {
          cuda::conv2d_input_gradient(s, y[static_cast<size_t>(i % sets)], w, {},
                                      x[static_cast<size_t>(i % sets)]);
        });
      Tensor dw(w.shape(), DType::f32, Device::cuda);
      row("weight gradient", [&](int i) {
        cuda::conv2d_weight_gradient(s, x[static_cast<size_t>(i % sets)],
                                     y[static_cast<size_t>(i % sets)], dw);
      });
    }
    set_precision(Precision::f32);
  }
  return rows;
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
    Json json = {{"card", cuda::card().name}};
    Json& ceilings = json["ceilings"];
    ceilings["copy"] = copy_bytes_per_second();
    std::printf("copy %.0f GB/s\n", 1e-9 * ceilings["copy"].get<double>());
    for (const Precision mode : kModes) {
      ceilings["product"][str(mode)] = product_flops_per_second(mode);
      std::printf("product %s %.1f TFLOP/s\n", str(mode).c_str(),
                  1e-12 * ceilings["product"][str(mode)].get<double>());
    }
    json["conv"] = conv_rows(ceilings);
    for (const Json& row : json["conv"])
      std::printf("%-20s %-16s %-8s %9.1f us %7.1f TFLOP/s %6.0f GB/s %4.0f %% of the ceiling\n",
                  row["layer"].get<std::string>().c_str(), row["pass"].get<std::string>().c_str(),
                  row["precision"].get<std::string>().c_str(), row["microseconds"].get<double>(),
                  row["tflops"].get<double>(), row["gb_per_s"].get<double>(),
                  100 * row["of_ceiling"].get<double>());
    if (!file.empty()) std::ofstream(file) << json.dump(1) << "\n";
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
