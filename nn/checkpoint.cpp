#include "nn/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/core/shown.h"
#include "engine/ops/shape_ops.h"
#include "nn/files/smp_folder.h"
#include "nn/files/tensor_file.h"

namespace decant::nn {
namespace {

// Weights of convolutions lie here as [O, kH, kW, I] and there as [O, I, kH, kW]; transposed ones
// as [I, kH, kW, O] and [I, O, kH, kW]. Both are the move between channels last and channels first.
Tensor channels_first(const Tensor& t) {
  const NoGrad no_grad;
  return t.shape().rank() == 4 ? permute(Variable(t), {0, 3, 1, 2}).value() : t;
}

Tensor channels_last(const Tensor& t) {
  const NoGrad no_grad;
  return t.shape().rank() == 4 ? permute(Variable(t), {0, 2, 3, 1}).value() : t;
}

Shape channels_first(const Shape& s) {
  return s.rank() == 4 ? Shape{s[0], s[3], s[1], s[2]} : s;
}

/// A parameter or buffer as a checkpoint sees it.
struct Entry {
  std::string name;
  Tensor tensor;
  bool counter = false;
};

std::vector<Entry> entries_of(Module& module) {
  struct Collecting : Visitor {
    void on_parameter(const std::string& path, Parameter& parameter) override {
      check(parameter.variable.defined(), "checkpoint: ", path, " has no memory: see initialize()");
      entries.push_back({path, parameter.variable.value()});
    }
    void on_buffer(const std::string& path, Buffer& buffer) override {
      check(buffer.tensor.defined(), "checkpoint: ", path, " has no memory: see initialize()");
      entries.push_back({path, buffer.tensor, buffer.counter});
    }
    std::vector<Entry> entries;
  };
  Collecting collect;
  module.visit(collect);
  return std::move(collect.entries);
}

/// "; missing (3): a, b, c" with at most ten of them.
std::string listing(const char* title, const std::vector<std::string>& names) {
  if (names.empty()) return "";
  constexpr size_t kShown = 10;
  std::string text = str("; ", title, " (", names.size(), "): ");
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i ? ", " : "") + shown(names[i], 200);
  if (names.size() > kShown) text += ", ...";
  return text;
}

StateMatch match(const std::vector<Entry>& entries, const std::vector<NamedTensor>& state,
                 bool counters_may_be_absent) {
  StateMatch match;
  std::map<std::string, const Tensor*> given;
  for (const NamedTensor& tensor : state)
    if (!given.emplace(tensor.name, &tensor.tensor).second) match.twice.push_back(tensor.name);

  std::set<std::string> known;
  for (const Entry& entry : entries) {
    known.insert(entry.name);
    const auto found = given.find(entry.name);
    if (found == given.end()) {
      if (!entry.counter || !counters_may_be_absent) match.missing.push_back(entry.name);
      continue;
    }
    const Shape expected = channels_first(entry.tensor.shape());
    const Shape& got = found->second->shape();
    const DType type = found->second->dtype();
    if (got != expected)
      match.reshaped.push_back(str(entry.name, " expected ", expected, " got ", got));
    if (is_real(type) == entry.counter)
      match.retyped.push_back(str(entry.name, " expected ", entry.counter ? "whole" : "real",
                                  " numbers got ", entry.counter ? "real" : "whole", " ones"));
    if (got == expected && is_real(type) != entry.counter) match.matched.push_back(entry.name);
  }
  for (const NamedTensor& tensor : state)
    if (!known.contains(tensor.name)) match.unexpected.push_back(tensor.name);
  match.prefix = common_prefix(state);
  return match;
}

void load(const std::vector<Entry>& entries, const std::vector<NamedTensor>& state,
          const std::string& what, bool counters_may_be_absent) {
  const StateMatch found = match(entries, state, counters_may_be_absent);
  check(found.fits(), what, ": expected the weights of this network, got others", found.faults());
  std::map<std::string_view, const Tensor*> given;
  for (const NamedTensor& tensor : state) given.emplace(tensor.name, &tensor.tensor);
  for (const Entry& entry : entries) {
    const auto value = given.find(entry.name);
    if (value == given.end()) continue;
    Tensor target = entry.tensor;
    target.copy_from(channels_last(value->second->to(entry.tensor.dtype())));
  }
}

std::string_view without_prefix(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

/// The name without what tools put in front: "module.", "model.", "encoder.", "encoder.model."
std::string plain_name(std::string_view name) {
  name = without_prefix(without_prefix(without_prefix(name, "module."), "model."), "encoder.");
  return std::string(without_prefix(name, "model."));
}

bool is_of_classifier(std::string_view plain) {
  return plain.starts_with("fc.") || plain.starts_with("_fc.") ||
         plain.starts_with("classifier.") || plain.starts_with("conv_head.");
}

/// The first convolution for another number of input channels, [O, I, kH, kW]: SMP's rule.
Tensor adapted_input(const Tensor& weight, int64_t channels) {
  const Variable w(weight.to(DType::f64));
  const int64_t outputs = weight.shape()[0];
  const int64_t area = weight.shape()[2] * weight.shape()[3];
  const int64_t given = weight.shape()[1];
  Tensor result =
      Tensor::zeros({outputs, channels, weight.shape()[2], weight.shape()[3]}, DType::f64);
  const auto* in = w.value().data<double>();
  auto* out = result.mutable_data<double>();
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t k = 0; k < area; ++k) {
      const double* source = in + o * given * area + k;
      double* target = out + o * channels * area + k;
      if (channels == 1)
        for (int64_t i = 0; i < given; ++i) target[0] += source[i * area];
      else
        for (int64_t i = 0; i < channels; ++i)
          target[i * area] =
              source[i % given * area] * static_cast<double>(given) / static_cast<double>(channels);
    }
  }
  return result;
}

}  // namespace

std::vector<NamedTensor> state_dict(Module& module, DType dtype) {
  std::vector<NamedTensor> state;
  for (const Entry& entry : entries_of(module)) {
    const Tensor own = entry.tensor.to(Device::cpu);
    const Tensor value = entry.counter ? own : channels_first(own).to(dtype);
    state.push_back({entry.name, value.shares_storage(entry.tensor) ? value.clone() : value});
  }
  return state;
}

bool StateMatch::fits() const {
  return faults().empty();
}

std::string StateMatch::faults() const {
  std::string text = listing("missing", missing) + listing("unexpected", unexpected) +
                     listing("twice", twice) + listing("of another shape", reshaped) +
                     listing("of another type", retyped);
  if (!text.empty() && !prefix.empty())
    text += str("; every name begins with \"", prefix, "\", without which more may match");
  return text;
}

StateMatch match_state(Module& module, const std::vector<NamedTensor>& state,
                       bool counters_may_be_absent) {
  return match(entries_of(module), state, counters_may_be_absent);
}

void load_state_dict(Module& module, const std::vector<NamedTensor>& state, const std::string& what,
                     bool counters_may_be_absent) {
  load(entries_of(module), state, what, counters_may_be_absent);
}

void save_checkpoint(const std::filesystem::path& path, Module& module, Metadata metadata) {
  metadata["format"] = "pt";
  write_safetensors(path, {.tensors = state_dict(module), .metadata = std::move(metadata)});
}

void save_checkpoint(const std::filesystem::path& path, Network& network, Metadata metadata) {
  metadata["network"] = to_json(network.spec()).dump();
  save_checkpoint(path, static_cast<Module&>(network), std::move(metadata));
}

Metadata load_checkpoint(const std::filesystem::path& path, Module& module) {
  TensorFile file = read_safetensors(path);
  load_state_dict(module, file.tensors, path.string());
  return std::move(file.metadata);
}

LoadedNetwork network_from_checkpoint(const std::filesystem::path& path, DType dtype) {
  check(form_of(path) != TensorForm::torch, path.string(),
        ": expected a checkpoint of decant, got a file of PyTorch; decant convert FILE "
        "OUT.safetensors --model DECODER/ENCODER --size N makes one of it");
  TensorFile file = read_safetensors(path);
  const auto spec = file.metadata.find("network");
  check(spec != file.metadata.end(), path.string(),
        ": expected a checkpoint whose metadata names its network, got one without \"network\"");
  LoadedNetwork loaded;
  try {
    loaded.network = std::make_unique<Network>(parse_network(spec->second));
  } catch (const Error& error) {
    throw Error(str(path.string(), ": ", error.what()));
  }
  allocate(*loaded.network, dtype);
  load_state_dict(*loaded.network, file.tensors, path.string());
  loaded.metadata = std::move(file.metadata);
  return loaded;
}

namespace {

/// A first convolution for other images than the network's becomes one for its own.
void adapt_input(std::vector<NamedTensor>& state, const Entry& first, int64_t channels) {
  for (NamedTensor& tensor : state) {
    if (tensor.name != first.name || tensor.tensor.shape().rank() != 4 ||
        !is_real(tensor.tensor.dtype()))
      continue;
    if (tensor.tensor.shape()[1] != channels)
      tensor.tensor = adapted_input(tensor.tensor, channels);
  }
}

TensorFile read_weights(const std::filesystem::path& path) {
  return read_tensors(is_smp_folder(path) ? path / kSmpWeights : path);
}

/// load() of what a network begins to train with: of finite values.
void load_initial(const std::vector<Entry>& entries, const std::vector<NamedTensor>& state,
                  const std::filesystem::path& path) {
  const std::vector<std::string> bad = not_finite(state);
  check(bad.empty(), path.string(), ": expected finite weights, got NaN or infinity",
        listing("in", bad));
  load(entries, state, path.string(), true);
}

}  // namespace

void load_encoder_weights(Network& network, const std::filesystem::path& path) {
  const TensorFile file = read_weights(path);
  const auto is_of_encoder = [](const NamedTensor& t) {
    return without_prefix(without_prefix(t.name, "module."), "model.").starts_with("encoder.");
  };
  const bool whole = std::ranges::any_of(file.tensors, is_of_encoder);

  const std::vector<Entry> entries = entries_of(network.encoder());
  std::map<std::string, std::string> own_names;  // by plain ones
  for (const Entry& entry : entries) own_names[plain_name(entry.name)] = entry.name;
  std::vector<NamedTensor> state;
  for (const NamedTensor& given : file.tensors) {
    const std::string plain = plain_name(given.name);
    if ((whole && !is_of_encoder(given)) || is_of_classifier(plain)) continue;
    const auto own = own_names.find(plain);
    state.push_back({own == own_names.end() ? given.name : own->second, given.tensor});
  }
  // The parameters come in state_dict order, so the first is the convolution that sees the image.
  adapt_input(state, entries.front(), network.spec().in_channels);
  load_initial(entries, state, path);
}

void load_network_weights(Network& network, const std::filesystem::path& path) {
  TensorFile file = read_weights(path);
  strip_common_prefixes(file.tensors);
  const std::vector<Entry> entries = entries_of(network);
  adapt_input(file.tensors, entries.front(), network.spec().in_channels);
  load_initial(entries, file.tensors, path);
}

}  // namespace decant::nn
