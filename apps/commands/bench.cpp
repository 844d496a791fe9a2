#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

#include "apps/command.h"
#include "apps/config.h"
#include "apps/console.h"
#include "apps/memory.h"
#include "apps/train_step.h"
#include "engine/autograd/profile.h"
#include "engine/core/allocator.h"
#include "engine/core/cuda_memory.h"
#include "engine/core/parallel.h"
#include "engine/core/rng.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/peak.h"
#include "engine/cuda/step_graph.h"
#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"
#include "engine/ops/shape_ops.h"
#include "nn/checkpoint.h"
#include "nn/inference.h"

namespace decant::apps {
namespace {

struct BenchOptions {
  std::string what;
  Json model = "unet/resnet18";
  Json teacher = "unet/resnet18";
  std::string preset = "L_KLD";
  Json spec = nullptr;
  int64_t size = 128;
  int64_t batch = 0;
  int threads = 0;
  std::string device = "cpu";
  std::string precision = "float32";
  int64_t steps = 15;
  int64_t warmup = 3;
  bool exact = false;
  bool ops = false;
  std::string save;
  std::string json;

  void visit(auto&& v) {
    v("what", what, "train, distill, infer, or ops: a step of train op by op", "what");
    v("model", model, "decoder/encoder, thin_unet, a network's JSON, or a run for its network",
      "--model");
    v("teacher", teacher, "of distill: another such network, of fresh weights", "--teacher");
    v("preset", preset, "of distill: one of the twelve", "--preset");
    v("spec", spec, "of distill: what is distilled, instead of a preset, as distill.spec");
    v("size", size, "side of the input", "--size");
    v("batch", batch, "images per step; 0: 8 to train, 1 to infer", "--batch");
    v("threads", threads, "0 takes what this process may run on", "--threads");
    v("device", device, kDeviceHelp, "--device");
    v("precision", precision, kPrecisionHelp, "--precision");
    v("exact", exact, "on cpu: convolutions are summed directly, never by Winograd's transforms");
    v("steps", steps, "that are timed", "--steps");
    v("warmup", warmup, "steps before them", "--warmup");
    v("ops", ops, "of cpu: where the time of a step goes, op by op, and by which algorithm",
      "--ops");
    v("save", save,
      "of cpu: safetensors for a peer to compare with: weights, batch, what one step makes of them",
      "--save");
    v("json", json, "file to write the figures to", "--json");
  }
};

double milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// A median and what half of the values lie between.
struct Spread {
  double low = 0, median = 0, high = 0;
};

Spread spread(std::vector<double> values) {
  std::ranges::sort(values);
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return std::lerp(values[below], values[above], place - static_cast<double>(below));
  };
  return {.low = at(0.25), .median = at(0.5), .high = at(0.75)};
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

double mib(size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

Tensor random(const Shape& shape, const char* purpose, const std::function<float(double)>& f) {
  Tensor t(shape);
  const Rng rng(RngKey::of(0, purpose));
  uint64_t i = 0;
  for (float& v : t.mutable_values<float>()) v = f(rng.normal(i++));
  return t;
}

// Something that is done again and again, and what waits until it is done.
struct Work {
  std::function<void()> step;
  std::function<void()> wait;
};

// Milliseconds per step. The CPU's steps are timed one by one; of those of cuda, which the host
// only queues, a third at a time.
Spread time_of(const Work& work, Device device, const BenchOptions& options) {
  for (int64_t i = 0; i < options.warmup; ++i) work.step();
  if (options.warmup > 0) work.wait();
  const int64_t rounds =
      device == Device::cpu ? options.steps : std::min<int64_t>(3, options.steps);
  const int64_t together = options.steps / rounds;
  std::vector<double> times;
  for (int64_t r = 0; r < rounds; ++r)
    times.push_back(milliseconds([&] {
                      for (int64_t i = 0; i < together; ++i) work.step();
                      work.wait();
                    }) /
                    static_cast<double>(together));
  return spread(times);
}

struct OpTime {
  std::string name;
  std::string algorithm;
  double multiply_adds = 0;  // in a step
  double bytes = 0;
  Spread milliseconds;
};

/// Networks of fresh weights and a batch of noise, where they compute.
class Bench {
 public:
  Bench(const BenchOptions& options, Device device)
      : options_(options),
        device_(device),
        spec_(read_network(options.model)),
        network_(nn::make_network(spec_)) {
    if (device == Device::cpu && options.what != "infer")
      require_step_memory(*network_, options.size, options.batch, "size");
    nn::move_to(*network_, device_);
    const Shape images = {options.batch, options.size, options.size, spec_.in_channels};
    const Shape masks = {options.batch, options.size, options.size, 1};
    batch_.images =
        random(images, "bench", [](double v) { return static_cast<float>(v); }).to(device_);
    batch_.masks =
        random(masks, "bench masks", [](double v) { return v > 0 ? 1.0F : 0.0F; }).to(device_);
    batch_.has_mask.assign(static_cast<size_t>(options.batch), true);
    batch_.teacher_images = batch_.images;
    batch_.teacher_to_student.resize(static_cast<size_t>(options.batch));
    if (options_.what == "distill") make_teacher();
    if (options_.what == "infer") return;
    parameters_ =
        distiller_
            ? std::make_unique<nn::ParameterSet>(std::vector<std::pair<std::string, nn::Module*>>{
                  {"", network_.get()}, {"distiller", distiller_.get()}})
            : std::make_unique<nn::ParameterSet>(*network_);
    optimizer_ = nn::make_optimizer(*parameters_, {});
  }

  /// Milliseconds of each op in a step, forward and backward, those of equal shapes together: the
  /// median of the steps. The longest first; what no op accounts for is last.
  std::vector<OpTime> profile() {
    const Work work = options_.what == "infer" ? inference(false) : training(false);
    work.step();
    std::map<std::string, OpTime> ops;
    std::map<std::string, std::vector<double>> times;
    for (int64_t i = 0; i < options_.steps; ++i) {
      std::map<std::string, double> step;
      double rest = 0;
      ops.clear();
      {
        const Profile profile;
        rest = milliseconds(work.step);
        for (const Profile::Row& row : profile.rows()) {
          std::ostringstream name;
          name << row.op->name << (row.backward ? " backward" : "");
          for (const Shape& shape : row.inputs)
            if (shape.rank() > 0) name << ' ' << shape;
          OpTime& op = ops[name.str()];
          op.algorithm = row.algorithm;
          op.multiply_adds += static_cast<double>(row.multiply_adds);
          op.bytes += static_cast<double>(row.bytes);
          step[name.str()] += 1e3 * row.seconds;
          rest -= 1e3 * row.seconds;
        }
      }
      step["between ops"] = rest;
      for (const auto& [name, time] : step) times[name].push_back(time);
    }
    std::vector<OpTime> rows;
    for (const auto& [name, values] : times) {
      OpTime& row = rows.emplace_back(ops[name]);
      row.name = name;
      row.milliseconds = spread(values);
    }
    std::ranges::sort(rows, std::ranges::greater(),
                      [](const OpTime& row) { return row.milliseconds.median; });
    return rows;
  }

  /// Weights by PyTorch's names as "state.0000.NAME" and "teacher.0000.NAME", the batch, and of one
  /// step "loss" and "gradient.0000.NAME", or the "logits" of inference; images and maps
  /// [N, C, H, W]. The numbers keep the order, which a file does not.
  void save(const std::string& path) {
    TensorFile file;
    const auto add = [&](const std::string& name, const Tensor& t) {
      file.tensors.push_back(
          {name, t.shape().rank() == 4 ? permute(Variable(t), {0, 3, 1, 2}).value() : t});
    };
    const auto numbered = [](std::string_view kind, size_t i, const std::string& name) {
      const std::string digits = std::to_string(i);
      return str(kind, '.', std::string(4 - std::min<size_t>(4, digits.size()), '0'), digits, '.',
                 name);
    };
    const auto add_state = [&](std::string_view kind, nn::Module& module) {
      size_t i = 0;
      for (NamedTensor& entry : nn::state_dict(module))
        file.tensors.push_back({numbered(kind, i++, entry.name), std::move(entry.tensor)});
    };
    add_state("state", *network_);
    if (teacher_) add_state("teacher", teacher_->network());
    add("images", batch_.images);
    add("masks", batch_.masks);
    if (options_.what == "infer") {
      add("logits", nn::Inference(*network_).forward(Variable(batch_.images)).logits.value());
    } else {
      TrainStep step = train_step(false);
      step.run(batch_, 3e-4, count_++);
      add("loss",
          step.figures().view(std::ranges::find(step.names(), "loss") - step.names().begin(), {1}));
      size_t i = 0;
      for (const nn::ParameterSet::Slot& slot : parameters_->slots())
        add(numbered("gradient", i++, slot.name),
            parameters_->gradients().view(slot.offset, slot.parameter->shape));
    }
    write_safetensors(path, file);
  }

  nn::Network& network() { return *network_; }
  bool distills() const { return distiller_ != nullptr; }

  Spread milliseconds_per_step(bool graph) {
    return options_.what == "infer" ? time_of(inference(graph), device_, options_)
                                    : time_of(training(graph), device_, options_);
  }

 private:
  void make_teacher() {
    std::unique_ptr<nn::Network> network =
        nn::make_network(read_network(options_.teacher), 0, DType::f32, "teacher");
    const kd::DistillSpec spec = options_.spec.is_null()
                                     ? kd::preset(options_.preset)
                                     : kd::spec_from_json(nlohmann::json(options_.spec));
    distiller_ = std::make_unique<kd::Distiller>(
        spec, kd::TapFacts{spec_.classes, network_->hidden_channels()},
        kd::TapFacts{network->spec().classes, network->hidden_channels()}, 0);
    nn::move_to(*network, device_);
    nn::move_to(*distiller_, device_);
    teacher_ = std::make_unique<kd::FrozenTeacher>(std::move(network), spec.teacher_batch_norm);
  }

  TrainStep train_step(bool graph) {
    TrainStep step(*network_, *parameters_, *optimizer_,
                   StepOptions{.loss = {.name = "ce"}, .graph = graph});
    if (distiller_) step.teach_by(*teacher_, *distiller_);
    return step;
  }

  Work training(bool graph) {
    const auto step = std::make_shared<TrainStep>(train_step(graph));
    return {.step = [this, step] { step->run(batch_, 3e-4, count_++); },
            .wait = [step] { step->figures().to(Device::cpu); }};
  }

  Work inference(bool graph) {
    const auto answer = std::make_shared<Tensor>();
    std::function<void()> forward = [this, answer,
                                     inference = std::make_shared<nn::Inference>(*network_)] {
      *answer = inference->forward(Variable(batch_.images)).logits.value();
    };
    if constexpr (kWithCuda)
      if (graph)
        forward = [forward, recorded = std::make_shared<cuda::StepGraph>()] {
          recorded->run(forward);
        };
    return {.step = forward, .wait = [answer] { answer->view(0, {1}).to(Device::cpu); }};
  }

  const BenchOptions& options_;
  Device device_;
  nn::NetworkSpec spec_;
  std::unique_ptr<nn::Network> network_;
  std::unique_ptr<kd::FrozenTeacher> teacher_;
  std::unique_ptr<kd::Distiller> distiller_;
  std::unique_ptr<nn::ParameterSet> parameters_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  data::Batch batch_;
  int64_t count_ = 0;
};

// "step_ms" and what follows from it, or "graph_ms".
void put_times(Json& json, const std::string& mode, const Spread& step, int64_t batch) {
  const std::string prefix = mode.empty() ? "" : mode + "_";
  const std::string ms = (mode.empty() ? "step" : mode) + "_ms";
  json[ms] = step.median;
  json[ms + "_quartiles"] = {step.low, step.high};
  json[prefix + "images_per_second"] = 1e3 * static_cast<double>(batch) / step.median;
}

// Op by op, beside what this machine does at best.
void put_ops(Json& json, const std::vector<OpTime>& ops) {
  constexpr double kGiga = 1e9;
  json["peak_gflops"] = cpu::multiply_add_peak() / kGiga;
  json["copy_gbytes_per_second"] = cpu::copy_peak() / kGiga;
  Json& rows = json["ops"] = Json::array();
  for (const OpTime& op : ops) {
    const double seconds = 1e-3 * op.milliseconds.median;
    // Who reads a promise takes the time to make it: no row's work is its own then.
    const bool promised = op.algorithm.find("promised") != std::string::npos;
    const auto rate = [&](double work) { return promised ? Json() : Json(work / seconds / kGiga); };
    rows.push_back({{"op", op.name},
                    {"algorithm", op.algorithm},
                    {"ms", op.milliseconds.median},
                    {"ms_quartiles", {op.milliseconds.low, op.milliseconds.high}},
                    {"gflops", rate(2 * op.multiply_adds)},
                    {"gbytes_per_second", rate(op.bytes)}});
  }
}

void print_ops(const Json& json) {
  if (!json.contains("ops")) return;
  std::printf("%10s %10s %8s %10s %8s  %-24s %s\n", "ms", "GFLOP/s", "of peak", "GB/s", "of copy",
              "algorithm", "op");
  const auto share = [&](const Json& rate, const char* peak) {
    return rate.is_null()
               ? std::string("-")
               : str(std::lround(100 * rate.get<double>() / json.at(peak).get<double>()), " %");
  };
  const auto number = [](const Json& rate) {
    return rate.is_null() ? std::string("-") : rounded(rate.get<double>(), 1);
  };
  for (const Json& row : json.at("ops")) {
    const Json& gflops = row.at("gflops");
    const Json& gbytes = row.at("gbytes_per_second");
    std::printf("%10.3f %10s %8s %10s %8s  %-24s %s\n", row.at("ms").get<double>(),
                number(gflops).c_str(), share(gflops, "peak_gflops").c_str(),
                number(gbytes).c_str(), share(gbytes, "copy_gbytes_per_second").c_str(),
                row.at("algorithm").get<std::string>().c_str(),
                row.at("op").get<std::string>().c_str());
  }
}

void measure_on_cpu(const BenchOptions& options, Json& json) {
  const double before_mib = high_water_mib();  // no network's: the program and its libraries
  cpu_memory::reset_peak();
  Bench bench(options, Device::cpu);
  const Spread step = bench.milliseconds_per_step(false);
  json["parameters"] = nn::parameter_count(bench.network());
  put_times(json, "", step, options.batch);
  json["peak_mib"] = high_water_mib() - before_mib;
  json["allocator_peak_mib"] = mib(cpu_memory::statistics().peak_in_use_bytes);
  if (options.ops) put_ops(json, bench.profile());
  if (!options.save.empty()) bench.save(options.save);  // last: it takes memory of its own
}

// Step by step from the host, then as a recorded graph.
void measure_on_cuda(const BenchOptions& options, Json& json) {
  Bench bench(options, Device::cuda);
  json["parameters"] = nn::parameter_count(bench.network());
  if constexpr (kWithCuda)
    for (const bool graph : {false, true}) {
      const std::string name = graph ? "graph" : "eager";
      cuda_memory::reset_peak();
      put_times(json, name, bench.milliseconds_per_step(graph), options.batch);
      json[name + "_peak_mib"] = mib(cuda_memory::statistics().peak_in_use_bytes);
    }
}

Exit run(BenchOptions& options, const Arguments&) {
  check(options.what == "train" || options.what == "distill" || options.what == "infer" ||
            options.what == "ops",
        "what: expected train, distill, infer or ops, got \"", options.what, "\"");
  if (options.what == "ops") options.ops = true;
  require_writable(options.json);
  require_writable(options.save);
  if (options.batch == 0) options.batch = options.what == "infer" ? 1 : 8;
  check_size("size", options.size);
  check(options.batch > 0, "batch: expected a number above 0, got ", options.batch);
  check(options.steps > 0, "steps: expected a number above 0, got ", options.steps);
  check(options.warmup >= 0, "warmup: expected 0 or more, got ", options.warmup);
  check(options.save.empty() || options.save != options.json,
        "save and json: expected two files, got ", options.save, " for both");
  const BenchOptions defaults;
  check(options.what == "distill" || (options.teacher == defaults.teacher &&
                                      options.preset == defaults.preset && options.spec.is_null()),
        "teacher, preset and spec: expected with distill, got ", options.what);
  take_threads(options.threads);
  const Device device = use_device(options.device, options.precision);
  check(device == Device::cuda || options.precision == "float32",
        "precision: expected float32, the only one on the cpu, got ", options.precision);
  cpu::set_exact_convolutions(options.exact);
  check(!options.ops || device == Device::cpu, "ops: expected the device cpu, got cuda");
  check(options.save.empty() || device == Device::cpu, "save: expected the device cpu, got cuda");
  Json json = {{"what", options.what}, {"network", read_network(options.model).name()}};
  if (options.what == "distill") {
    json["teacher"] = read_network(options.teacher).name();
    json["preset"] = options.spec.is_null() ? Json(options.preset) : options.spec;
  }
  json.update({{"size", options.size},
               {"batch", options.batch},
               {"threads", num_threads()},
               {"arithmetic", arithmetic_of(device)},
               {"precision", options.precision},
               {"steps", options.steps}});
  device == Device::cpu ? measure_on_cpu(options, json) : measure_on_cuda(options, json);
  for (const auto& [name, value] : json.items())
    if (name != "ops") std::cout << name << ": " << value << "\n";
  print_ops(json);
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(1) + "\n");
  return Exit::done;
}

}  // namespace

Command bench_command() {
  return make_command<BenchOptions>(
      "bench",
      "time steps of training or distillation, single answers of a network, or a step op by op",
      "  decant bench train --model unet/resnet18 --size 128 --batch 8 --json bench.json\n"
      "  decant bench distill --teacher unet/resnet18 --model thin_unet --preset HReg_KLD\n"
      "  decant bench infer --model thin_unet --size 128 --threads 1\n"
      "  decant bench ops --model linknet/resnet50 --size 224\n",
      run);
}

}  // namespace decant::apps
