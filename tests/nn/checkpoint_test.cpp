#include "nn/checkpoint.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/io/safetensors.h"
#include "nn/files/torch_file.h"

namespace decant::nn {
namespace {

namespace fs = std::filesystem;

/// A folder of this test's own, gone afterwards.
struct Folder {
  Folder() : path(fs::temp_directory_path() / str("decant_checkpoint_", this)) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path operator/(const char* name) const { return path / name; }
  fs::path path;
};

std::string message_of(auto&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::byte> bytes_of(Module& module) {
  return safetensors_bytes({state_dict(module), {}});
}

TEST_CASE("a checkpoint comes back as it went, network and all") {
  const Folder folder;
  const auto network = make_network(parse_network("linknet/mobilenet_v3_small_075:classes=2"), 5);
  network->forward(Variable(Tensor::full({2, 64, 64, 3}, 0.5)), {.training = true});
  save_checkpoint(folder / "a.safetensors", *network, {{"epoch", "7"}});
  const LoadedNetwork loaded = network_from_checkpoint(folder / "a.safetensors");
  CHECK(loaded.network->spec() == network->spec());
  CHECK(loaded.metadata.at("epoch") == "7");
  CHECK(loaded.metadata.at("format") == "pt");
  CHECK(bytes_of(*loaded.network) == bytes_of(*network));

  const TensorFile file = read_safetensors(folder / "a.safetensors");
  CHECK(file.at("encoder.model.bn1.num_batches_tracked").dtype() == DType::i64);
  CHECK(file.at("encoder.model.bn1.num_batches_tracked").item() == 1);

  const auto exact = network_from_checkpoint(folder / "a.safetensors", DType::f64);
  CHECK(exact.network->dtype() == DType::f64);
  CHECK(bytes_of(*exact.network) == bytes_of(*network));
}

TEST_CASE("weights lie in files as PyTorch has them") {
  // Conv2d: here [out 2, 3, 3, in 4], there [2, 4, 3, 3]. ConvTranspose2d: here [in 4, 4, 4, out
  // 5], there [4, 5, 4, 4].
  const auto check_order = [](Module& module, int64_t a, int64_t kernel, int64_t b) {
    initialize(module, 0);
    const NamedTensor weight = state_dict(module).front();
    CHECK(weight.name == "weight");
    CHECK(weight.tensor.shape() == Shape{a, b, kernel, kernel});
    std::vector<NamedTensor> state = state_dict(module);
    auto* out = state.front().tensor.mutable_data<float>();
    for (int64_t i = 0; i < weight.tensor.size(); ++i) out[i] = static_cast<float>(i);
    load_state_dict(module, state, "test");
    struct Reading : Visitor {
      void on_parameter(const std::string& path, Parameter& parameter) override {
        if (path == "weight") value = parameter.variable.value();
      }
      Tensor value;
    };
    Reading read;
    module.visit(read);
    CHECK(read.value.shape() == Shape{a, kernel, kernel, b});
    bool right = true;
    for (int64_t i = 0; i < a; ++i)
      for (int64_t r = 0; r < kernel; ++r)
        for (int64_t s = 0; s < kernel; ++s)
          for (int64_t j = 0; j < b; ++j)
            right &= read.value.data<float>()[((i * kernel + r) * kernel + s) * b + j] ==
                     static_cast<float>(((i * b + j) * kernel + r) * kernel + s);
    CHECK(right);
  };
  Conv2d conv({.in = 4, .out = 2});
  check_order(conv, 2, 3, 4);
  ConvTranspose2d transposed(4, 5);
  check_order(transposed, 4, 4, 5);
}

TEST_CASE("what does not match is listed in one line, and nothing is loaded") {
  const auto small = make_network(parse_network("thin_unet:width=4,depth=2"), 1);
  const auto before = bytes_of(*small);
  std::vector<NamedTensor> state = state_dict(*make_network(small->spec(), 2));
  state[1].name = "encoder.stem.1.wait";
  state[0].tensor = Tensor::zeros({4, 3, 5, 5});
  const std::string message = message_of([&] { load_state_dict(*small, state, "a.safetensors"); });
  CHECK(contains(message, "a.safetensors: expected the weights of this network"));
  CHECK(contains(message, "missing (1): encoder.stem.1.weight;"));
  CHECK(contains(message, "unexpected (1): encoder.stem.1.wait;"));
  CHECK(contains(message, "encoder.stem.0.weight expected [4, 3, 3, 3] got [4, 3, 5, 5]"));

  // Each fault alone is enough.
  const auto refused = [&](const std::vector<NamedTensor>& given) {
    return message_of([&] { load_state_dict(*small, given, "a.safetensors"); });
  };
  const std::vector<NamedTensor> good = state_dict(*make_network(small->spec(), 2));
  std::vector<NamedTensor> fewer = good;
  fewer.pop_back();
  CHECK(contains(refused(fewer), "got others; missing (1): segmentation_head.0.bias"));
  std::vector<NamedTensor> more = good;
  more.push_back({"fc.bias", Tensor::zeros({1})});
  CHECK(contains(refused(more), "got others; unexpected (1): fc.bias"));
  CHECK(bytes_of(*small) == before);
  CHECK(refused(good) == "accepted");
  CHECK(bytes_of(*small) != before);
}

TEST_CASE("weights are real, counters whole, and each stands there once") {
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2"), 1);
  const auto before = bytes_of(*network);
  const auto refused = [&](const std::vector<NamedTensor>& given) {
    return message_of([&] { load_state_dict(*network, given, "a.safetensors"); });
  };
  const std::vector<NamedTensor> good = state_dict(*make_network(network->spec(), 2));
  const auto counter = std::ranges::find_if(
      good, [](const auto& t) { return t.name.ends_with("num_batches_tracked"); });
  REQUIRE(counter != good.end());
  std::vector<NamedTensor> state = good;
  state[0].tensor = Tensor::zeros({4, 3, 3, 3}, DType::u8);
  state[static_cast<size_t>(counter - good.begin())].tensor = Tensor::full({}, 2.5);
  const std::string message = refused(state);
  CHECK(contains(message,
                 "of another type (2): encoder.stem.0.weight expected real numbers got "
                 "whole ones, "));
  CHECK(contains(message, str(counter->name, " expected whole numbers got real ones")));

  state = good;
  state.push_back(good[0]);  // at the end, where the last would win
  CHECK(contains(refused(state), "got others; twice (1): encoder.stem.0.weight"));
  CHECK(bytes_of(*network) == before);

  state = good;
  state[0].tensor = good[0].tensor.to(DType::f64);
  state[static_cast<size_t>(counter - good.begin())].tensor = Tensor::full({}, 2, DType::i32);
  CHECK(refused(state) == "accepted");
}

TEST_CASE("bad files are refused in one line that names them") {
  const Folder folder;
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2"), 1);
  const fs::path good = folder / "good.safetensors";
  save_checkpoint(good, *network);
  const auto size = fs::file_size(good);
  const auto refused = [&](const fs::path& path, std::string_view reason) {
    for (const std::string& message : {message_of([&] { load_checkpoint(path, *network); }),
                                       message_of([&] { network_from_checkpoint(path); }),
                                       message_of([&] { load_encoder_weights(*network, path); })}) {
      CAPTURE(message);
      CHECK(contains(message, path.filename().string()));
      CHECK(contains(message, reason));
      CHECK_FALSE(contains(message, "\n"));
    }
  };
  refused(folder / "nowhere.safetensors", "cannot read");

  fs::copy_file(good, folder / "short.safetensors");
  fs::resize_file(folder / "short.safetensors", size - 100);
  refused(folder / "short.safetensors", "cut short");
  fs::copy_file(good, folder / "first300.safetensors");
  fs::resize_file(folder / "first300.safetensors", 300);
  refused(folder / "first300.safetensors", "cut short");
  std::ofstream(folder / "text.weights") << "These are no weights, but a longer text.";
  refused(folder / "text.weights", "safetensors");
  const std::vector<std::byte> torch = torch_bytes(state_dict(*network));
  std::ofstream(folder / "a.pth")
      .write(reinterpret_cast<const char*>(torch.data()),
             static_cast<std::streamsize>(torch.size()));
  CHECK(contains(message_of([&] { network_from_checkpoint(folder / "a.pth"); }),
                 "a.pth: expected a checkpoint of decant, got a file of PyTorch; decant convert"));

  const auto other = make_network(parse_network("thin_unet:width=8,depth=2"), 1);
  save_checkpoint(folder / "other.safetensors", *other);
  CHECK(contains(message_of([&] { load_checkpoint(folder / "other.safetensors", *network); }),
                 "encoder.stem.0.weight expected [4, 3, 3, 3] got [8, 3, 3, 3]"));
  save_checkpoint(folder / "plain.safetensors", static_cast<Module&>(*network));
  CHECK(contains(message_of([&] { network_from_checkpoint(folder / "plain.safetensors"); }),
                 "without \"network\""));
  save_checkpoint(folder / "odd.safetensors", static_cast<Module&>(*network),
                  {{"network", R"({"decoder": "unit"})"}});
  CHECK(contains(message_of([&] { network_from_checkpoint(folder / "odd.safetensors"); }),
                 "did you mean \"unet\"?"));
}

TEST_CASE("weights to begin with that are not finite are refused by their names") {
  const Folder folder;
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2"), 1);
  std::vector<NamedTensor> state = state_dict(*network);
  state[0].tensor.mutable_data<float>()[1] = std::numeric_limits<float>::infinity();
  state[0].tensor.mutable_data<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(folder / "nan.safetensors", {state, {}});
  const std::string refusal =
      "nan.safetensors: expected finite weights, got NaN or infinity; in (1): ";
  CHECK(contains(message_of([&] { load_network_weights(*network, folder / "nan.safetensors"); }),
                 refusal + "encoder.stem.0.weight (2 of 108 numbers)"));
  CHECK(contains(message_of([&] { load_encoder_weights(*network, folder / "nan.safetensors"); }),
                 refusal + "stem.0.weight (2 of 108 numbers)"));

  state = state_dict(*network);  // an encoder is taken, whatever its decoder has come to
  REQUIRE_FALSE(state.back().name.starts_with("encoder."));
  state.back().tensor.mutable_data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(folder / "nan.safetensors", {state, {}});
  CHECK_NOTHROW(load_encoder_weights(*network, folder / "nan.safetensors"));
  CHECK_THROWS_AS(load_network_weights(*network, folder / "nan.safetensors"), Error);
}

/// The state of a network's encoder under other names.
std::vector<NamedTensor> encoder_state(Network& network, const std::string& prefix) {
  std::vector<NamedTensor> state = state_dict(network.encoder());
  for (NamedTensor& tensor : state) tensor.name = prefix + tensor.name;
  return state;
}

TEST_CASE("pretrained encoders load under torchvision's, SMP's and timm's names") {
  const Folder folder;
  const fs::path path = folder / "weights.safetensors";
  const auto source = make_network(parse_network("unet/resnet18"), 1);
  const auto fresh = [] { return make_network(parse_network("linknet/resnet18"), 2); };

  std::vector<NamedTensor> state = encoder_state(*source, "");
  std::erase_if(state, [](const auto& t) { return t.name.ends_with("num_batches_tracked"); });
  state.push_back({"fc.weight", Tensor::zeros({1000, 512})});
  state.push_back({"fc.bias", Tensor::zeros({1000})});
  write_safetensors(path, {state, {}});
  auto target = fresh();
  load_encoder_weights(*target, path);
  CHECK(bytes_of(target->encoder()) == bytes_of(source->encoder()));

  save_checkpoint(path, *source);  // a whole network: decoder and head are left out
  target = fresh();
  load_encoder_weights(*target, path);
  CHECK(bytes_of(target->encoder()) == bytes_of(source->encoder()));

  const auto mobile = make_network(parse_network("linknet/mobilenet_v3_small_075"), 1);
  state = state_dict(mobile->encoder());
  for (NamedTensor& tensor : state) tensor.name = tensor.name.substr(6);  // "model."
  state.push_back({"conv_head.weight", Tensor::zeros({1024, 432, 1, 1})});
  state.push_back({"classifier.bias", Tensor::zeros({1000})});
  write_safetensors(path, {state, {}});
  const auto student = make_network(parse_network("linknet/mobilenet_v3_small_075"), 2);
  load_encoder_weights(*student, path);
  CHECK(bytes_of(student->encoder()) == bytes_of(mobile->encoder()));

  // With timm's "model." in front, and behind SMP's "encoder.", whatever the network's own names.
  for (const std::string prefix : {"model.", "encoder.model.", "encoder.", "model.encoder."}) {
    CAPTURE(prefix);
    write_safetensors(folder / "prefixed.safetensors", {encoder_state(*source, prefix), {}});
    target = fresh();
    load_encoder_weights(*target, folder / "prefixed.safetensors");
    CHECK(bytes_of(target->encoder()) == bytes_of(source->encoder()));
  }

  const std::string message = message_of([&] { load_encoder_weights(*target, path); });
  // resnet18 has 120 entries; 20 counters may be absent, and bn1 is there, of another width.
  CHECK(contains(message, "missing (96)"));
  CHECK(contains(message, "bn1.weight expected [64] got [16]"));
  CHECK(contains(message, "unexpected"));
}

TEST_CASE("one-channel inputs take the sum of the first convolution over its channels") {
  const Folder folder;
  const fs::path path = folder / "weights.safetensors";
  const auto source = make_network(parse_network("unet/resnet18"), 1);
  save_checkpoint(path, *source);
  const Tensor three = state_dict(source->encoder()).front().tensor;
  const auto first_weight = [&](const char* text) {
    const auto network = make_network(parse_network(text), 2);
    load_encoder_weights(*network, path);
    return state_dict(network->encoder()).front().tensor;
  };
  const Tensor one = first_weight("unet/resnet18:in_channels=1");
  const Tensor four = first_weight("unet/resnet18:in_channels=4");
  REQUIRE(one.shape() == Shape{64, 1, 7, 7});
  REQUIRE(four.shape() == Shape{64, 4, 7, 7});
  for (const int64_t o : {0, 63}) {
    for (const int64_t k : {0, 48}) {
      const auto at = [&](const Tensor& t, int64_t i) {
        return double{t.data<float>()[(o * t.shape()[1] + i) * 49 + k]};
      };
      CHECK(at(one, 0) == doctest::Approx(at(three, 0) + at(three, 1) + at(three, 2)));
      CHECK(at(four, 3) == doctest::Approx(at(three, 0) * 3 / 4));
      CHECK(at(four, 1) == doctest::Approx(at(three, 1) * 3 / 4));
    }
  }
}

}  // namespace
}  // namespace decant::nn
