// Networks, their files and their training on cuda: a card, or the emulated device.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "nn/checkpoint.h"
#include "nn/network.h"
#include "nn/optimizer.h"
#include "nn/parameter_set.h"

namespace decant::nn {
namespace {

constexpr const char* kSmall = "thin_unet:width=4,depth=2";

std::vector<std::byte> bytes_of(Module& module) {
  return safetensors_bytes({state_dict(module), {}});
}

TEST_CASE("cuda: a network that moves there and back has the same bits, and so have its files") {
  if constexpr (!kWithCuda) return;
  namespace fs = std::filesystem;
  const fs::path file = fs::temp_directory_path() / str("decant_cuda_", ::getpid(), ".safetensors");
  const auto network = make_network(parse_network(kSmall), 5);
  const std::vector<std::byte> before = bytes_of(*network);
  move_to(*network, Device::cuda);
  CHECK(network->device() == Device::cuda);
  CHECK(bytes_of(*network) == before);
  const ParameterSet parameters(*network);
  CHECK(network->device() == Device::cuda);
  CHECK(bytes_of(*network) == before);

  save_checkpoint(file, *network);
  CHECK(bytes_of(*network_from_checkpoint(file).network) == before);
  const auto other = make_network(parse_network(kSmall), 6);
  move_to(*other, Device::cuda);
  CHECK(bytes_of(*other) != before);
  load_checkpoint(file, *other);
  CHECK(bytes_of(*other) == before);
  move_to(*other, Device::cpu);
  CHECK(other->device() == Device::cpu);
  CHECK(bytes_of(*other) == before);
  fs::remove(file);
}

TEST_CASE("cuda: an optimizer's state is the host's, and either device goes on from it") {
  if constexpr (!kWithCuda) return;
  const auto network = make_network(parse_network(kSmall), 5);
  move_to(*network, Device::cuda);
  ParameterSet parameters(*network);
  const auto optimizer = make_optimizer(parameters, {.name = "adam"});
  std::vector<NamedTensor> state = optimizer->state();
  for (NamedTensor& entry : state) {
    CHECK(entry.tensor.device() == Device::cpu);
    if (entry.tensor.dtype() == DType::f32) entry.tensor.fill(0.25);
  }
  optimizer->load_state(state);
  for (const NamedTensor& entry : optimizer->state())
    if (entry.tensor.dtype() == DType::f32)
      CHECK(std::ranges::all_of(entry.tensor.values<float>(), [](float v) { return v == 0.25F; }));
}

TEST_CASE("cuda: parameters of two devices make no set") {
  if constexpr (!kWithCuda) return;
  const auto here = make_network(parse_network(kSmall), 5);
  const auto there = make_network(parse_network(kSmall), 5);
  move_to(*there, Device::cuda);
  CHECK_THROWS_WITH_AS(ParameterSet({{"a", here.get()}, {"b", there.get()}}),
                       doctest::Contains("ParameterSet: expected one device, got cpu a."), Error);
}

}  // namespace
}  // namespace decant::nn
