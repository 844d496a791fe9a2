// How exact Unet-resnet18's convolutions in Winograd's form are, one image of normal numbers: of
// each pass the distance from the sums in float64, relative to these (both 2-norms), of Winograd's
// form and of the direct sum, in units of 1e-7; and in that unit what Winograd's is held to in the
// tests.
//   conv_errors [side of the network's input, 128]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "engine/core/rng.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/winograd.h"
#include "engine/ops/conv2d_reference.h"
#include "tests/bench/conv_layers.h"

using namespace decant;

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats normal(int64_t size, uint64_t seed) {
  const Rng rng(RngKey::of(seed, "conv errors"));
  Floats values(static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(rng.normal(i));
  return values;
}

double distance(const Floats& got, const Doubles& expected) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

// Each writes its result.
struct Pass {
  size_t results;
  int64_t products;  // of a sum
  std::function<void(double*)> reference;
  std::function<void(float*)> winograd, direct;
};

void print(const Pass& pass) {
  Doubles exact(pass.results);
  Floats winograd(pass.results);
  Floats direct(pass.results);
  pass.reference(exact.data());
  pass.winograd(winograd.data());
  pass.direct(direct.data());
  const double bound =
      cpu::kWinogradKappa * std::sqrt(static_cast<double>(pass.products)) * std::ldexp(1.0, -24);
  std::printf(" %8.1f %6.1f %6.1f |", distance(winograd, exact) * 1e7,
              distance(direct, exact) * 1e7, bound * 1e7);
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t side = argc > 1 ? bench::number("side", argv[1]) : 128;
  std::printf("%-16s %24s %25s %25s\n", "1e-7", "forward |", "input gradient |",
              "weight gradient |");
  std::printf("%-16s", "layer, one image");
  for (int pass = 0; pass < 3; ++pass) std::printf(" %8s %6s %6s |", "winograd", "direct", "bound");
  std::printf("\n");
  for (auto [layer, count] : bench::kLayers) {
    layer.size = std::max<int64_t>(1, layer.size * side / 128);
    const auto algorithm = cpu::algorithm_of(bench::shape_of(layer), cpu::ConvPass::forward);
    if (algorithm != cpu::ConvAlgorithm::winograd) continue;
    layer.batch = 1;
    const cpu::ConvShape s = bench::shape_of(layer);
    const Floats x = normal(s.h * s.w * s.c_in, 1);
    const Floats w = normal(s.c_out * 9 * s.c_in, 2);
    const Floats dy = normal(s.ho * s.wo * s.c_out, 3);
    const Doubles x64(x.begin(), x.end());
    const Doubles w64(w.begin(), w.end());
    const Doubles dy64(dy.begin(), dy.end());
    std::printf("%-16s", layer.name);
    print({.results = dy.size(),
           .products = 9 * s.c_in,
           .reference =
               [&](double* y) {
                 reference::conv2d_forward<double>(s, x64.data(), w64.data(), nullptr, y);
               },
           .winograd = [&](float* y) { cpu::winograd_forward(s, x.data(), w.data(), nullptr, y); },
           .direct = [&](float* y) { cpu::direct_forward(s, x.data(), w.data(), nullptr, y); }});
    print(
        {.results = x.size(),
         .products = 9 * s.c_out,
         .reference =
             [&](double* dx) {
               reference::conv2d_input_gradient<double>(s, dy64.data(), w64.data(), nullptr, dx);
             },
         .winograd =
             [&](float* dx) { cpu::winograd_input_gradient(s, dy.data(), w.data(), nullptr, dx); },
         .direct =
             [&](float* dx) { cpu::direct_input_gradient(s, dy.data(), w.data(), nullptr, dx); }});
    print(
        {.results = w.size(),
         .products = s.ho * s.wo,
         .reference =
             [&](double* dw) {
               reference::conv2d_weight_gradient<double>(s, x64.data(), dy64.data(), dw);
             },
         .winograd = [&](float* dw) { cpu::winograd_weight_gradient(s, x.data(), dy.data(), dw); },
         .direct = [&](float* dw) { cpu::direct_weight_gradient(s, x.data(), dy.data(), dw); }});
    std::printf("\n");
    std::fflush(stdout);
  }
}
