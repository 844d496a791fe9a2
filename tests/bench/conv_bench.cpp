// Speed of the three passes of a convolution on the layers of Unet-resnet18, batch 8: the median of
// some runs, as a share of the machine's multiply-add peak measured in between (other programs may
// share the machine, so that milliseconds alone say little), and the algorithm (name_of). Where
// training makes both gradients in one pass, that pass is measured, and stands in place of the two.
// Where Winograd and the direct sum can both do a layer, the shares of each follow; the
// multiply-adds are the direct sum's, so that Winograd's share may exceed 100 %.
// With several copies of each layer's operands, taken in turn, these come from memory, as in a
// network.
//   conv_bench [threads] [filter] [side of the network's input, 128] [copies, 1]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/parallel.h"
#include "engine/core/tensor.h"
#include "engine/cpu/conv.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/conv_cases.h"
#include "engine/cpu/level.h"
#include "engine/cpu/peak.h"
#include "engine/cpu/winograd.h"
#include "tests/bench/conv_layers.h"

using namespace decant;

namespace {

double seconds(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

constexpr cpu::ConvPass kPasses[] = {cpu::ConvPass::forward, cpu::ConvPass::input_gradient,
                                     cpu::ConvPass::weight_gradient};

struct Operand {
  Tensor tensor;
  float* pointer;
  Operand(const Shape& shape, double value)
      : tensor(Tensor::full(shape, value)), pointer(tensor.mutable_data<float>()) {}
};

struct Operands {
  Operand x, y, w, dx, dw;
  explicit Operands(const cpu::ConvShape& s)
      : x({s.n, s.h, s.w, s.c_in}, 0.5),
        y({s.n, s.ho, s.wo, s.c_out}, 0.25),
        w({s.c_out, s.kh, s.kw, s.c_in / s.groups}, 0.125),
        dx({s.n, s.h, s.w, s.c_in}, 0),
        dw({s.c_out, s.kh, s.kw, s.c_in / s.groups}, 0) {}
};

struct Result {
  double time;   // of one call
  double share;  // of the peak
};

Result measure(double flops, const std::function<void()>& f) {
  f();
  const int calls = std::max(1, static_cast<int>(3e-3 / seconds(f)));
  std::vector<double> times;
  std::vector<double> shares;
  for (int i = 0; i < 9; ++i) {
    const double machine = cpu::multiply_add_peak();
    const double time = seconds([&] {
                          for (int j = 0; j < calls; ++j) f();
                        }) /
                        calls;
    times.push_back(time);
    shares.push_back(flops / time / machine);
  }
  return {.time = bench::median(times), .share = bench::median(shares)};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(static_cast<int>(bench::number("threads", argv[1])));
  const std::string filter = argc > 2 ? argv[2] : "";
  const int64_t side = argc > 3 ? bench::number("side", argv[3]) : 128;
  const int64_t copies = argc > 4 ? bench::number("copies", argv[4]) : 1;
  if (std::ranges::none_of(bench::kLayers, [&](const auto& l) {
        return std::string(l.layer.name).find(filter) != std::string::npos;
      })) {
    std::fprintf(stderr, "filter: expected a part of a layer's name, got \"%s\"\n", filter.c_str());
    return 2;
  }
  std::printf("level %s, %d threads, peak %.0f GFLOP/s\n",
              std::string(cpu::name_of(cpu::level())).c_str(), num_threads(),
              cpu::multiply_add_peak() * 1e-9);
  std::printf("%-22s %30s %30s %30s   Winograd : direct, %%\n", "layer, batch 8", "forward",
              "input gradient", "weight gradient");
  double total[3] = {};
  for (auto [layer, count] : bench::kLayers) {
    layer.size = std::max<int64_t>(1, layer.size * side / 128);
    if (std::string(layer.name).find(filter) == std::string::npos) continue;
    const cpu::ConvShape s = bench::shape_of(layer);
    std::vector<Operands> sets;
    for (int64_t i = 0; i < copies; ++i) sets.emplace_back(s);
    size_t turn = 0;
    // One pass with the next set of operands.
    const auto with_next = [&](const auto& pass) {
      return [&sets, &turn, pass] { pass(sets[turn++ % sets.size()]); };
    };
    const double flops = bench::flops_of(layer);
    const std::string one_pass(cpu::name_of_one_pass(s));
    std::vector<Result> results = {measure(flops, with_next([&](Operands& o) {
                                             cpu::conv2d_forward(s, o.x.pointer, o.w.pointer,
                                                                 nullptr, o.y.pointer);
                                           }))};
    if (!one_pass.empty()) {
      results.push_back(measure(2 * flops, with_next([&](Operands& o) {
                                  cpu::conv2d_gradients(s, o.x.pointer, o.y.pointer, o.w.pointer,
                                                        o.dx.pointer, o.dw.pointer);
                                })));
    } else {
      results.push_back(measure(flops, with_next([&](Operands& o) {
                                  cpu::conv2d_input_gradient(s, o.y.pointer, o.w.pointer, nullptr,
                                                             o.dx.pointer);
                                })));
      results.push_back(measure(flops, with_next([&](Operands& o) {
                                  cpu::conv2d_weight_gradient(s, o.x.pointer, o.y.pointer,
                                                              o.dw.pointer);
                                })));
    }
    std::printf("%-22s", layer.name);
    for (size_t i = 0; i < results.size(); ++i) {
      const std::string algorithm(
          i > 0 && !one_pass.empty() ? one_pass : cpu::name_of(cpu::algorithm_of(s, kPasses[i])));
      std::printf(" %8.3f ms %3.0f %% %-12s", results[i].time * 1e3, results[i].share * 100,
                  algorithm.c_str());
    }
    if (cpu::has_winograd(s)) {
      Operands& o = sets.front();
      const float* const x = o.x.pointer;
      const float* const w = o.w.pointer;
      const float* const dy = o.y.pointer;
      const double winograd[3] = {
          measure(flops, [&] { cpu::winograd_forward(s, x, w, nullptr, o.y.pointer); }).share,
          measure(flops, [&] { cpu::winograd_input_gradient(s, dy, w, nullptr, o.dx.pointer); })
              .share,
          measure(flops, [&] { cpu::winograd_weight_gradient(s, x, dy, o.dw.pointer); }).share};
      const double direct[3] = {
          measure(flops, [&] { cpu::direct_forward(s, x, w, nullptr, o.y.pointer); }).share,
          measure(flops, [&] { cpu::direct_input_gradient(s, dy, w, nullptr, o.dx.pointer); })
              .share,
          measure(flops, [&] { cpu::direct_weight_gradient(s, x, dy, o.dw.pointer); }).share};
      for (int i = 0; i < 3; ++i)
        std::printf("   %3.0f : %3.0f", winograd[i] * 100, direct[i] * 100);
    }
    std::printf("\n");
    std::fflush(stdout);
    for (size_t i = 0; i < results.size(); ++i) {
      total[i] += results[i].time * count;
      if (i == 1 && s.c_in == 3) total[i] -= results[i].time;  // nobody asks for it
    }
  }
  if (!filter.empty()) return 0;
  std::printf("%-22s %8.3f ms %19s %8.3f ms %19s %8.3f ms, all %.1f ms\n", "Unet-resnet18",
              total[0] * 1e3, "", total[1] * 1e3, "", total[2] * 1e3,
              (total[0] + total[1] + total[2]) * 1e3);
}
