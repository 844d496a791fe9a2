#include "apps/device.h"

#include <unistd.h>

#include <fstream>
#include <string>

#include "apps/options.h"
#include "engine/core/parallel.h"
#include "engine/core/precision.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/level.h"
#include "engine/cuda/card.h"

namespace decant::apps {
namespace {

Precision precision_of(const std::string& word) {
  for (const Precision p : {Precision::f32, Precision::tf32, Precision::bf16})
    if (str(p) == word) return p;
  const std::vector<std::string> known = {"float32", "tf32", "bf16"};
  throw Error(str("precision: expected float32, tf32 or bf16, got \"", word, "\"",
                  suggestion(word, known)));
}

}  // namespace

void check_device(const std::string& device, const std::string& precision) {
  check(device == "cpu" || device == "cuda", "device: expected cpu or cuda, got \"", device, "\"");
  check(kWithCuda || device == "cpu",
        "device: cuda was asked for; this build has no CUDA, use --device cpu");
  precision_of(precision);
}

Device use_device(const std::string& device, const std::string& precision) {
  check_device(device, precision);
  if (device == "cpu") return Device::cpu;
  if constexpr (kWithCuda) cuda::card();
  set_precision(precision_of(precision));
  return Device::cuda;
}

std::string arithmetic_of(Device device) {
  if constexpr (kWithCuda)
    if (device == Device::cuda) return str("cuda (", cuda::card().name, ", ", precision(), ")");
  return str(cpu::level(), cpu::exact_convolutions() ? ", exact" : "");
}

std::string machine_text() {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  std::string processor = "a processor";
  std::ifstream facts("/proc/cpuinfo");
  for (std::string line; std::getline(facts, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
      processor = line.substr(line.find(": ") + 2);
      break;
    }
  return str(host, ": ", processor, ", ", arithmetic_of(Device::cpu), ", ", num_threads(),
             " thread", num_threads() == 1 ? "" : "s");
}

}  // namespace decant::apps
