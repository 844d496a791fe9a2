#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>

#include "apps/command.h"
#include "apps/config.h"
#include "engine/core/allocator.h"
#include "engine/core/parallel.h"
#include "engine/core/rng.h"
#include "engine/cpu/level.h"
#include "engine/io/atomic_file.h"
#include "nn/losses.h"
#include "nn/optimizer.h"

namespace decant::apps {
namespace {

struct BenchOptions {
  std::string what;
  Json model = "unet/resnet18";
  int64_t size = 128;
  int64_t batch = 0;
  int threads = 0;
  int64_t steps = 15;
  int64_t warmup = 3;
  std::string json;

  void visit(auto&& v) {
    v("what", what, "train or infer", "what");
    v("model", model, "decoder/encoder, thin_unet, or a network's JSON", "--model");
    v("size", size, "side of the input", "--size");
    v("batch", batch, "images per step; 0: 8 to train, 1 to infer", "--batch");
    v("threads", threads, "0 takes what the machine has", "--threads");
    v("steps", steps, "that are timed", "--steps");
    v("warmup", warmup, "steps before them", "--warmup");
    v("json", json, "file to write the figures to", "--json");
  }
};

double milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The most memory this process ever had, in MiB; 0 where the system does not tell.
double high_water_mib() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    double kib = 0;
    if (std::sscanf(line.c_str(), "VmHWM: %lf", &kib) == 1) return kib / 1024;
  }
  return 0;
}

Tensor random_images(const Shape& shape) {
  Tensor images(shape);
  const Rng rng(RngKey::of(0, "bench"));
  uint64_t i = 0;
  for (float& v : images.mutable_values<float>()) v = static_cast<float>(rng.normal(i++));
  return images;
}

struct StepTimes {
  std::vector<double> forward, backward, optimizer, whole;
};

StepTimes time_training(nn::Network& network, const Tensor& images, const BenchOptions& options) {
  nn::ParameterSet parameters(network);
  const auto optimizer = nn::make_optimizer(parameters, {});
  Tensor masks({images.shape()[0], images.shape()[1], images.shape()[2], 1});
  const Rng rng(RngKey::of(0, "bench masks"));
  uint64_t i = 0;
  for (float& v : masks.mutable_values<float>()) v = rng.uniform(i++) > 0.5 ? 1.0F : 0.0F;
  StepTimes times;
  for (int64_t step = 0; step < options.warmup + options.steps; ++step) {
    Variable loss;
    const double forward = milliseconds([&] {
      const nn::Pass pass{.training = true,
                          .key = RngKey::of(0, "dropout", static_cast<uint64_t>(step))};
      loss = nn::supervised_loss(network.forward(Variable(images), pass).logits, {.labels = masks},
                                 {.name = "ce"});
    });
    const double back = milliseconds([&] {
      parameters.zero_gradients();
      backward(loss);
    });
    const double update = milliseconds([&] { optimizer->step(3e-4); });
    if (step < options.warmup) continue;
    times.forward.push_back(forward);
    times.backward.push_back(back);
    times.optimizer.push_back(update);
    times.whole.push_back(forward + back + update);
  }
  return times;
}

StepTimes time_inference(nn::Network& network, const Tensor& images, const BenchOptions& options) {
  const NoGrad no_grad;
  StepTimes times;
  for (int64_t step = 0; step < options.warmup + options.steps; ++step) {
    const double forward = milliseconds([&] { network.forward(Variable(images)); });
    if (step < options.warmup) continue;
    times.forward.push_back(forward);
    times.whole.push_back(forward);
  }
  return times;
}

Exit run(BenchOptions& options, const Arguments&) {
  const bool training = options.what == "train";
  check(training || options.what == "infer", "what: expected train or infer, got \"", options.what,
        "\"");
  require_writable(options.json);
  if (options.batch == 0) options.batch = training ? 8 : 1;
  check(options.size > 0 && options.batch > 0 && options.steps > 0 && options.warmup >= 0 &&
            options.threads >= 0,
        "expected size, batch and steps above 0, got size ", options.size, ", batch ",
        options.batch, ", steps ", options.steps);
  if (options.threads > 0) set_num_threads(options.threads);
  const nn::NetworkSpec spec = read_network(options.model);
  const Tensor images =
      random_images({options.batch, options.size, options.size, spec.in_channels});

  // What the program and its libraries took before belongs to no network.
  const double before_mib = high_water_mib();
  cpu_memory::reset_peak();
  const auto network = nn::make_network(spec);
  const StepTimes times = training ? time_training(*network, images, options)
                                   : time_inference(*network, images, options);
  const double peak_mib = high_water_mib() - before_mib;
  const double step_ms = median(times.whole);
  Json json = {{"what", options.what},
               {"network", spec.name()},
               {"parameters", nn::parameter_count(*network)},
               {"size", options.size},
               {"batch", options.batch},
               {"threads", num_threads()},
               {"cpu_level", str(cpu::level())},
               {"steps", options.steps},
               {"step_ms", step_ms}};
  if (training) {
    json["forward_ms"] = median(times.forward);
    json["backward_ms"] = median(times.backward);
    json["optimizer_ms"] = median(times.optimizer);
  }
  json["images_per_second"] = 1e3 * static_cast<double>(options.batch) / step_ms;
  json["peak_mib"] = peak_mib;
  json["allocator_peak_mib"] =
      static_cast<double>(cpu_memory::statistics().peak_in_use_bytes) / (1 << 20);
  for (const auto& [name, value] : json.items()) std::cout << name << ": " << value << "\n";
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(1) + "\n");
  return Exit::done;
}

}  // namespace

Command bench_command() {
  return make_command<BenchOptions>(
      "bench", "time training steps or single answers of a network",
      "  decant bench train --model unet/resnet18 --size 128 --batch 8 --json bench.json\n"
      "  decant bench infer --model thin_unet --size 128 --threads 1\n",
      run);
}

}  // namespace decant::apps
