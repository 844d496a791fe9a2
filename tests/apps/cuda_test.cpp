// The program's main job with --device cuda: on a card, or on the emulated device. The words are
// the same for both.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "engine/core/device.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;

namespace {

using Words = std::vector<std::string>;

// A few steps: an emulated one takes a good part of a second.
Words tiny(const std::string& command, const std::string& device,
           const std::string& model = "thin_unet:width=8,depth=4") {
  return {command,        "--data",   phantoms(), "--model",     model,    "--size", "32",
          "--epochs",     "1",        "--batch",  "2",           "--seed", "5",      "--split",
          "random:1:0.3", "--device", device,     "--optimizer", "sgd",    "--lr",   "0.01"};
}

void must(const Words& words) {
  const Result result = decant::apps::decant(words);
  INFO(result.err);
  REQUIRE(result.code == 0);
}

// The figures of the first epoch by name.
std::map<std::string, double> first_epoch(const std::string& run) {
  std::istringstream csv(bytes_of(run + "/metrics.csv"));
  std::string header;
  std::string row;
  std::getline(csv, header);
  std::getline(csv, row);
  std::istringstream names(header);
  std::istringstream values(row);
  std::map<std::string, double> figures;
  for (std::string name, value; std::getline(names, name, ',') && std::getline(values, value, ',');)
    if (!value.empty()) figures[name] = std::stod(value);
  return figures;
}

}  // namespace

TEST_CASE("cuda: train and every pathway's distill follow the CPU") {
  if constexpr (!kWithCuda) return;
  const TemporaryFolder folder;
  // One step on all images: the devices differ in roundings of 1e-7, which batch norm over the few
  // values of tiny maps would blow up from step to step. Ten steps: tests/nn/cuda_test.cpp.
  const auto compare = [&](const Words& more, const std::string& command) {
    for (const char* device : {"cpu", "cuda"})
      must(tiny(command, device) + more + Words{"batch=6", "--out", folder / (command + device)});
    const auto here = first_epoch(folder / (command + "cpu"));
    const auto there = first_epoch(folder / (command + "cuda"));
    REQUIRE(here.size() == there.size());
    for (const auto& [name, value] : here) {
      CAPTURE(name);
      CHECK(there.at(name) == doctest::Approx(value).epsilon(1e-5));
      CHECK(std::isfinite(value));
    }
  };
  SUBCASE("train") {
    compare({}, "train");
  }
  for (const char* preset : {"L_KLD", "H_MSE", "HReg_KLD", "L_MSE_WAug"}) {
    SUBCASE(preset) {
      compare({"--teacher", trained(), "--preset", preset}, "distill");
    }
  }
}

TEST_CASE("cuda: a run that was killed goes on to the same bytes, with and without a graph") {
  if constexpr (!kWithCuda) return;
  const TemporaryFolder folder;
  std::string model = "thin_unet:width=8,depth=4";
  SUBCASE("") {}
  SUBCASE("that drops channels") {
    model = "pspnet/thin:width=4";
  }
  const Words words = tiny("train", "cuda", model) + Words{"epochs=2", "optim.ema=0.9"};
  must(words + Words{"--out", folder / "whole"});
  begin_and_kill(words, folder / "killed");
  must({"train", "--resume", folder / "killed"});
  must(words + Words{"--out", folder / "eager", "--step-graph", "off"});
  const std::string weights = bytes_of(folder / "whole/last.safetensors");
  CHECK((bytes_of(folder / "killed/last.safetensors") == weights));
  CHECK((bytes_of(folder / "eager/last.safetensors") == weights));
}
