// Holds our networks against segmentation_models.pytorch (SMP) on PyTorch: loss, logits and every
// parameter's gradient. Neither side ships weights: all parameters, buffers and inputs follow from
// their names by a formula; a fixture holds what SMP computed from them in float64.
//
// DECANT_PARITY_DIR names another folder of fixtures; files of networks that we do not have are
// listed as skipped, and a run that compared nothing fails.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/check/tolerance.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/winograd.h"
#include "engine/io/safetensors.h"
#include "engine/ops/shape_ops.h"
#include "nn/checkpoint.h"
#include "nn/files/smp_folder.h"
#include "nn/losses.h"
#include "nn/network.h"

namespace decant::nn {
namespace {

/// Value i of the tensor of that name: splitmix64, 24 bits of it, in [0, 1).
struct Stream {
  Stream(const std::string& name, uint64_t seed) : start(fnv1a64(name) + seed) {}

  double unit(int64_t i) const {
    uint64_t z = start + static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    z = z ^ z >> 31;
    return static_cast<double>(z >> 40) / 16777216.0;
  }
  double symmetric(int64_t i) const { return 2 * unit(i) - 1; }

  uint64_t start;
};

/// A parameter or buffer in PyTorch's order of extents, as the fixtures' formula fills it.
Tensor filled(const std::string& name, const Shape& shape, uint64_t seed) {
  if (name.ends_with("num_batches_tracked")) return Tensor::zeros(shape, DType::i64);
  const Stream stream(name, seed);
  const auto value = [&](int64_t i) {
    if (name.ends_with("running_var")) return 0.75 + 0.5 * stream.unit(i);
    if (name.ends_with("running_mean")) return 0.2 * stream.symmetric(i);
    if (shape.rank() >= 2) {
      const int64_t fan_in = shape.size() / shape[0];
      return stream.symmetric(i) * std::sqrt(6 / static_cast<double>(fan_in));
    }
    if (name.ends_with("bias")) return 0.2 * stream.symmetric(i);
    return 0.75 + 0.5 * stream.unit(i);
  };
  Tensor result(shape, DType::f32);
  auto* out = result.mutable_data<float>();
  for (int64_t i = 0; i < shape.size(); ++i) out[i] = static_cast<float>(value(i));
  return result;
}

/// The same, each value off by as much of itself, up or down, as the result of an op that sums
/// products with it may be.
Tensor with_noise(const std::string& name, const Tensor& values, uint64_t seed) {
  if (!is_real(values.dtype())) return values;
  const Shape& s = values.shape();
  const double noise = tolerance(s.rank() >= 2 ? static_cast<double>(s.size() / s[0]) : 1);
  const Stream stream(name + ".noise", seed);
  Tensor result = values.to(DType::f64);
  auto* out = result.mutable_data<double>();
  for (int64_t i = 0; i < s.size(); ++i) out[i] *= 1 + (stream.unit(i) < 0.5 ? -noise : noise);
  return result;
}

Tensor channels_first(const Tensor& t) {
  return permute(Variable(t), {0, 3, 1, 2}).value();
}

struct Fixture {
  explicit Fixture(const std::filesystem::path& path) : file(read_safetensors(path)) {
    nlohmann::json config = {{"_model_class", file.metadata.at("arch")},
                             {"encoder_name", file.metadata.at("encoder")},
                             {"in_channels", std::stoll(file.metadata.at("in_channels"))},
                             {"classes", std::stoll(file.metadata.at("classes"))}};
    const auto arguments = file.metadata.find("arguments");  // other than SMP's defaults
    if (arguments != file.metadata.end()) config.update(nlohmann::json::parse(arguments->second));
    seed = std::stoull(file.metadata.at("seed"));
    try {
      spec = spec_from_smp(config);
      make_encoder(spec);
    } catch (const Error& error) {
      unknown = error.what();
    }
    if (spec.options.dropout) spec.options.dropout = 0;  // as the files say
  }

  std::unique_ptr<Network> network(DType dtype, bool noisy = false) const {
    auto result = std::make_unique<Network>(spec);
    allocate(*result, dtype);
    std::vector<NamedTensor> state;
    for (const NamedTensor& t : state_dict(*result)) {
      const Tensor values = filled(t.name, t.tensor.shape(), seed);
      state.push_back({t.name, noisy ? with_noise(t.name, values, seed) : values});
    }
    load_state_dict(*result, state, "parity");
    return result;
  }

  Variable images(DType dtype) const {
    const Shape& logits = file.at("eval_logits").shape();
    const Shape shape = {logits[0], spec.in_channels, logits[2], logits[3]};
    const Stream stream("input", seed);
    Tensor x(shape, DType::f64);
    auto* out = x.mutable_data<double>();
    for (int64_t i = 0; i < shape.size(); ++i) out[i] = 2 * stream.symmetric(i);
    return Variable(permute(Variable(x), {0, 2, 3, 1}).value().to(dtype));
  }

  Target target() const {
    const Shape& logits = file.at("eval_logits").shape();
    const Stream stream("target", seed);
    Tensor y({logits[0], logits[2], logits[3]}, DType::f64);
    auto* out = y.mutable_data<double>();
    for (int64_t i = 0; i < y.size(); ++i) {
      const double u = stream.unit(i);
      out[i] =
          spec.classes == 1 ? (u < 0.3 ? 1 : 0) : std::floor(u * static_cast<double>(spec.classes));
    }
    return {.labels = y};
  }

  TensorFile file;
  NetworkSpec spec;
  std::string unknown;  ///< why there is no such network here; empty where there is one
  uint64_t seed = 0;
};

struct Distance {
  double worst = 0;   ///< max |a - b|
  double spread = 0;  ///< max b - min b
  double excess = 0;  ///< max |a - b| - half a float32 unit of b

  double of_spread() const { return worst / spread; }
};

Distance distance(const Variable& logits, const Tensor& expected) {
  const Tensor a = channels_first(logits.value()).to(DType::f64);
  const Tensor b = expected.to(DType::f64);
  REQUIRE(a.shape() == b.shape());
  REQUIRE(std::ranges::all_of(a.values<double>(), [](double v) { return std::isfinite(v); }));
  const auto [low, high] = std::ranges::minmax(b.values<double>());
  Distance d{.spread = high - low};
  for (int64_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a.data<double>()[i] - b.data<double>()[i]);
    d.worst = std::max(d.worst, error);
    d.excess = std::max(d.excess, error - std::abs(b.data<double>()[i]) * 0x1p-24);
  }
  return d;
}

struct Gradients : Visitor {
  void on_parameter(const std::string& path, Parameter& parameter) override {
    names.push_back(path);
    gradients.push_back(parameter.variable.grad());
  }
  std::vector<std::string> names;
  std::vector<Tensor> gradients;
};

void compare_gradients(Network& network, const Fixture& fixture) {
  Gradients ours;
  network.visit(ours);
  const auto names = nlohmann::json::parse(fixture.file.metadata.at("parameters"));
  REQUIRE(ours.names == names.get<std::vector<std::string>>());

  const Tensor& norms = fixture.file.at("grad_norm");
  const Tensor& probes = fixture.file.at("grad_probe");
  const double largest = std::ranges::max(norms.values<double>());
  for (size_t i = 0; i < ours.names.size(); ++i) {
    CAPTURE(ours.names[i]);
    const double expected = norms.data<double>()[i];
    double square = 0;
    double probe = 0;
    double size = 1;
    if (ours.gradients[i].defined()) {
      const Tensor& g = ours.gradients[i];
      const Tensor flat = g.shape().rank() == 4 ? channels_first(g) : g;
      const Stream stream(ours.names[i] + ".probe", fixture.seed);
      for (int64_t k = 0; k < flat.size(); ++k) {
        const double value = flat.data<double>()[k];
        square += value * value;
        probe += value * stream.symmetric(k);
      }
      size = static_cast<double>(flat.size());
    }
    const double tolerance = 1e-8 * std::max(expected, 1e-4 * largest);
    CHECK(std::abs(std::sqrt(square) - expected) <= tolerance);
    CHECK(std::abs(probe - probes.data<double>()[i]) <= tolerance * std::sqrt(size));
  }
}

/// How far rounding may move a network's logits, of their spread, with kernels as good as they are
/// held to.
///
/// The result of an op that sums K products may be off by tolerance(K) of itself
/// (engine/check/tolerance.h). Weights that are each off by that part of themselves, up or down at
/// random, put a layer's results off by as much: noise of independent signs adds up as the terms
/// themselves do, to that part of what they come to. So with such weights every layer errs at once
/// as far as it may, and what comes of that in the logits is computed here in float64. One draw of
/// signs decides, the same in every run: others come to as much within a factor of two.
///
/// Weights err alike at all pixels, kernels do not. It makes no difference to
/// DeepLabV3Plus.resnet50 while training, the one network that needs this (README.md), of whose
/// spread are
///   2.1e-4           the error of our float32, 6.1e-4 through Winograd, 1.5e-4 PyTorch's own
///   5.4e-4           this
///   4e-4 to 7e-4     the same in PyTorch, four draws of signs
///   4e-4 to 1.2e-3   noise of that size drawn for every value of all results, four draws
///   1.5e-4 to 3.2e-4 noise of 0.3 sqrt(K) + 1 roundings, which a direct sum measures, in every
///                    result of a convolution
double rounding_of(const Fixture& fixture, const std::string& logits, const Pass& pass) {
  const auto network = fixture.network(DType::f64, true);
  const Variable x = fixture.images(DType::f64);
  return distance(network->forward(x, pass).logits, fixture.file.at(logits)).of_spread();
}

/// While it lives, convolutions are summed directly, as PyTorch does it.
struct DirectSums {
  DirectSums() { cpu::set_exact_convolutions(true); }
  ~DirectSums() { cpu::set_exact_convolutions(before); }
  DirectSums(const DirectSums&) = delete;
  DirectSums& operator=(const DirectSums&) = delete;

  bool before = cpu::exact_convolutions();
};

// Convolutions are summed directly, and then as they are by default: through Winograd's transforms,
// whose errors are larger by a known factor.
void compare_float32(const Fixture& fixture) {
  constexpr double kUsual = 1e-4;
  constexpr double kMost = 1e-2;  // beyond it agreement tells nothing
  const NoGrad no_grad;
  const Variable x = fixture.images(DType::f32);
  const auto network = fixture.network(DType::f32);
  const std::pair<std::string, Pass> passes[] = {{"eval_logits", {}},
                                                 {"train_logits", {.batch_statistics = true}}};
  for (const auto& [logits, pass] : passes) {
    CAPTURE(logits);
    const auto error = [&] {
      return distance(network->forward(x, pass).logits, fixture.file.at(logits)).of_spread();
    };
    const double winograd = error();
    double direct = 0;
    {
      const DirectSums guard;
      direct = error();
    }
    double allowed = kUsual;
    std::string remark;
    if (std::max(direct, winograd / cpu::kWinogradKappa) > kUsual) {
      allowed = std::max(kUsual, rounding_of(fixture, logits, pass));
      remark = str("; rounding may do ", allowed, " to this network's");
    }
    REQUIRE(allowed <= kMost);
    CHECK(direct <= allowed);
    CHECK(winograd <= cpu::kWinogradKappa * allowed);
    MESSAGE(logits << ": float32 off by " << direct << " of the spread, through Winograd by "
                   << winograd << remark);
  }
}

void compare(const Fixture& fixture) {
  const Tensor& eval_logits = fixture.file.at("eval_logits");
  const Tensor& train_logits = fixture.file.at("train_logits");

  const auto exact = fixture.network(DType::f64);
  CHECK(std::to_string(parameter_count(*exact)) == fixture.file.metadata.at("parameter_count"));
  {
    const NoGrad no_grad;
    const Distance d = distance(exact->forward(fixture.images(DType::f64)).logits, eval_logits);
    // Half a unit of the float32 in the file, and rounding in two float64 computations.
    CHECK(d.excess <= 1e-10 * d.spread);
  }
  // A training pass of which nothing is dropped, as in the file.
  const Output output = exact->forward(fixture.images(DType::f64), {.batch_statistics = true});
  CHECK(distance(output.logits, train_logits).excess <=
        1e-10 * distance(output.logits, train_logits).spread);
  const Variable loss = ce_loss(output.logits, fixture.target());
  const double expected = fixture.file.at("train_loss").item();
  CHECK(std::abs(loss.value().item() - expected) <= 1e-9 * expected);
  backward(loss);
  compare_gradients(*exact, fixture);

  compare_float32(fixture);
}

constexpr const char* kOwnFiles = DECANT_SOURCE_DIR "/tests/parity/smp";

// No network of the project's own files asks for it. Errors of layers are independent: all together
// they come to the root of the sum of their squares, where batch norm keeps what a layer adds in
// proportion. What the worst pixel has of that and the spread has of the norm differs by network:
// three times it, or a third.
// (Measured: 1.5; Unet.resnet18 1.7, FPN.resnet18 0.85. Noise of single products comes to 0.28
// here, noise all of one sign, which batch norm takes out again, to 0.05.)
TEST_CASE("what rounding may do to logits is what the errors of the layers come to") {
  const NoGrad no_grad;
  const Fixture fixture(std::filesystem::path(kOwnFiles) / "Linknet.resnet18.safetensors");
  double square = 0;
  for (const NamedTensor& t : state_dict(*fixture.network(DType::f32))) {
    const Shape& s = t.tensor.shape();
    if (s.rank() >= 2) square += std::pow(tolerance(static_cast<double>(s.size() / s[0])), 2);
  }
  const double layers = std::sqrt(square);
  const double found = rounding_of(fixture, "train_logits", {.batch_statistics = true});
  MESSAGE("rounding of all layers ", layers, ", in the logits ", found, " of their spread");
  CHECK(layers / 3 < found);
  CHECK(found < layers * 3);
}

TEST_CASE("networks agree with segmentation_models.pytorch") {
  const char* other = std::getenv("DECANT_PARITY_DIR");
  const std::filesystem::path folder = other ? other : kOwnFiles;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  std::ranges::sort(paths);

  int compared = 0;
  for (const std::filesystem::path& path : paths) {
    const std::string name = path.filename().string();
    CAPTURE(name);
    const Fixture fixture(path);
    if (!fixture.unknown.empty()) {
      MESSAGE("skipped, no such network here: " << name << ": " << fixture.unknown);
      continue;
    }
    compare(fixture);
    ++compared;
    MESSAGE("compared " << name << " (" << fixture.file.metadata.at("parameter_count")
                        << " parameters)");
  }
  CHECK_MESSAGE(compared > 0, "no fixture of a known network in " << folder.string());
  if (other == nullptr)
    CHECK(compared == 40);  // of the project's own files none may be passed over
}

}  // namespace
}  // namespace decant::nn
