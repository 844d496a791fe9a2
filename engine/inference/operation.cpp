#include "engine/inference/operation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "engine/core/error.h"
#include "engine/inference/attributes.h"

namespace decant {
namespace {

ConvOperation conv_of(const Trace& trace, const Trace::Step& step) {
  const bool transposed = step.op->name == "conv_transpose2d";
  const Shape& x = step.input_shapes[0];
  const Shape& w = step.input_shapes[1];
  const Shape& y = step.output_shape;
  const Shape& from = transposed ? y : x;
  const Shape& to = transposed ? x : y;
  const auto padding = attribute<std::vector<int64_t>>(step, "padding");
  const Tensor bias = step.inputs[2] != 0 ? trace.constant(step.inputs[2]) : Tensor::zeros({y[3]});
  return {.transposed = transposed,
          .shape = {.n = 1,
                    .h = from[1],
                    .w = from[2],
                    .c_in = from[3],
                    .ho = to[1],
                    .wo = to[2],
                    .c_out = to[3],
                    .kh = w[1],
                    .kw = w[2],
                    .stride = attribute<int64_t>(step, "stride"),
                    .dilation = attribute<int64_t>(step, "dilation"),
                    .groups = attribute<int64_t>(step, "groups"),
                    .top = padding[0],
                    .left = padding[2]},
          .w = trace.constant(step.inputs[1]),
          .b = bias,
          .input = step.inputs[0],
          .output = step.output};
}

// How often each value is read, by operations and from outside.
std::map<uint64_t, int> uses(const Graph& graph) {
  std::map<uint64_t, int> count;
  for (const uint64_t value : graph.kept) ++count[value];
  for (const Operation& operation : graph.operations)
    for (const uint64_t value : inputs_of(operation)) ++count[value];
  return count;
}

// y = (x - mean) scale / sqrt(var + eps) + shift, for x = conv: filters times the gain, and
// b gain + shift - mean gain. `trace` has scale and shift.
void fold_batch_norm(const Trace& trace, const Trace::Step& norm, ConvOperation& conv) {
  const auto scale = trace.constant(norm.inputs[1]).values<float>();
  const auto shift = trace.constant(norm.inputs[2]).values<float>();
  const auto mean = norm.buffers[0].values<float>();
  const auto variance = norm.buffers[1].values<float>();
  const auto eps = attribute<double>(norm, "eps");
  Tensor w = conv.w.clone();
  Tensor b = conv.b.clone();
  const auto filters = w.mutable_values<float>();
  const auto bias = b.mutable_values<float>();
  // w is [c_out, .., c_in / groups]; the results' channels are its first axis, or, transposed, the
  // last within each group.
  const auto channels = static_cast<size_t>(conv.channels());
  const size_t groups = static_cast<size_t>(conv.shape.groups);
  const size_t per_group = channels / groups;
  const size_t per_channel = filters.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    const double gain = scale[c] / std::sqrt(variance[c] + eps);
    bias[c] = static_cast<float>((static_cast<double>(bias[c]) - mean[c]) * gain + shift[c]);
    for (size_t i = 0; i < per_channel; ++i) {
      const size_t at = conv.transposed
                            ? (c / per_group * per_channel + i) * per_group + c % per_group
                            : c * per_channel + i;
      filters[at] = static_cast<float>(filters[at] * gain);
    }
  }
  conv.w = w;
  conv.b = b;
  conv.activation = activation_of(norm);
  conv.residual = norm.inputs[3];
}

// Takes `step` into the convolution whose results it reads, if it is one of those that can be.
bool absorb(const Trace& trace, const Trace::Step& step, ConvOperation& conv) {
  const bool free = conv.activation == Activation::none && conv.residual == 0;
  if (step.op->name == "batch_norm") {
    if (!free || step.inputs[0] != conv.output || attribute<bool>(step, "training")) return false;
    fold_batch_norm(trace, step, conv);
  } else if (step.op->name == "add") {
    if (!free || step.input_shapes[0] != step.input_shapes[1] || step.inputs[0] == step.inputs[1])
      return false;
    conv.residual = step.inputs[0] == conv.output ? step.inputs[1] : step.inputs[0];
  } else {
    const auto activation = activation_named(step.op->name);
    if (!activation || conv.activation != Activation::none) return false;
    conv.activation = *activation;
  }
  conv.output = step.output;
  return true;
}

}  // namespace

bool ConvOperation::depthwise() const {
  return !transposed && shape.groups > 1 && shape.groups == shape.c_in &&
         shape.groups == shape.c_out;
}

bool ConvOperation::pointwise() const {
  return !transposed && cpu::is_pointwise(shape);
}

std::vector<uint64_t> inputs_of(const Operation& operation) {
  std::vector<uint64_t> inputs;
  if (const auto* conv = std::get_if<ConvOperation>(&operation))
    inputs = {conv->input, conv->residual};
  else if (const auto* separable = std::get_if<SeparableOperation>(&operation))
    inputs = {separable->depthwise.input, separable->skip, separable->pointwise.residual};
  else if (const auto* pair = std::get_if<PointwisePairOperation>(&operation))
    inputs = {pair->first.input, pair->second.residual};
  else
    inputs = std::get<OtherOperation>(operation).step.inputs;
  std::erase(inputs, uint64_t{0});
  return inputs;
}

uint64_t output_of(const Operation& operation) {
  if (const auto* conv = std::get_if<ConvOperation>(&operation)) return conv->output;
  if (const auto* separable = std::get_if<SeparableOperation>(&operation))
    return separable->pointwise.output;
  if (const auto* pair = std::get_if<PointwisePairOperation>(&operation))
    return pair->second.output;
  return std::get<OtherOperation>(operation).step.output;
}

bool is_convolution(const Trace::Step& step) {
  return step.op->name == "conv2d" || step.op->name == "conv_transpose2d";
}

Graph graph_of(const Trace& trace, std::vector<uint64_t> kept) {
  Graph graph{{}, std::move(kept)};
  for (const Trace::Step& step : trace.steps()) {
    if (is_convolution(step))
      graph.operations.emplace_back(conv_of(trace, step));
    else
      graph.operations.emplace_back(OtherOperation{step});
  }
  return graph;
}

// One walk: each operation may take the place of the one whose results it alone reads. It stands
// later in the order, where all that the two read is there.
void fuse(const Trace& trace, Graph& graph) {
  const std::map<uint64_t, int> readers = uses(graph);
  std::vector<Operation> fused;
  // The convolution that made `value`, where nobody else reads it.
  const auto maker = [&](uint64_t value) -> ConvOperation* {
    const auto count = readers.find(value);
    if (count == readers.end() || count->second != 1) return nullptr;
    const auto found = std::ranges::find(fused, value, output_of);
    return found == fused.end() ? nullptr : std::get_if<ConvOperation>(&*found);
  };
  const auto replace = [&](uint64_t value, Operation operation) {
    fused.erase(std::ranges::find(fused, value, output_of));
    fused.push_back(std::move(operation));
  };
  for (const Operation& operation : graph.operations) {
    if (const auto* other = std::get_if<OtherOperation>(&operation)) {
      bool absorbed = false;
      for (const uint64_t value : other->step.inputs) {
        const ConvOperation* conv = absorbed ? nullptr : maker(value);
        if (conv == nullptr) continue;
        ConvOperation whole = *conv;
        absorbed = absorb(trace, other->step, whole);
        if (absorbed) replace(value, std::move(whole));
      }
      if (absorbed) continue;
    }
    fused.push_back(operation);
  }
  graph.operations = std::move(fused);
}

namespace {

// A list of operations that grows, from which an operation may be taken out again.
struct Joined {
  const std::map<uint64_t, int> readers;
  std::vector<Operation> operations = {};

  // The operation that made `value`, where nobody else reads it and it is wanted.
  std::optional<Operation> take(uint64_t value, const auto& wanted) {
    const auto found = std::ranges::find(operations, value, output_of);
    if (found == operations.end() || readers.at(value) != 1 || !wanted(*found)) return {};
    std::optional<Operation> taken = std::move(*found);
    operations.erase(found);
    return taken;
  }
};

bool is_depthwise(const Operation& operation) {
  const auto* conv = std::get_if<ConvOperation>(&operation);
  return conv != nullptr && conv->depthwise() && conv->residual == 0;
}

bool is_upsample_concat(const Operation& operation) {
  const auto* other = std::get_if<OtherOperation>(&operation);
  return other != nullptr && other->step.op->name == "upsample_concat" &&
         other->step.inputs[1] != 0;
}

bool is_large_pointwise(const Operation& operation) {
  constexpr int64_t kLarge = 1 << 18;  // floats
  const auto* conv = std::get_if<ConvOperation>(&operation);
  return conv != nullptr && conv->pointwise() && conv->residual == 0 &&
         conv->shape.ho * conv->shape.wo * conv->shape.c_out > kLarge;
}

}  // namespace

void join_separable(Graph& graph) {
  Joined joined{uses(graph)};
  for (const Operation& operation : graph.operations) {
    const auto* pointwise = std::get_if<ConvOperation>(&operation);
    std::optional<Operation> first;
    if (pointwise != nullptr && pointwise->pointwise())
      first = joined.take(pointwise->input, is_depthwise);
    if (!first) {
      joined.operations.push_back(operation);
      continue;
    }
    SeparableOperation both = {std::get<ConvOperation>(*first), *pointwise};
    if (const auto before = joined.take(both.depthwise.input, is_upsample_concat)) {
      const Trace::Step& step = std::get<OtherOperation>(*before).step;
      const Shape& low = step.input_shapes[0];
      both.depthwise.input = step.inputs[0];
      both.skip = step.inputs[1];
      both.upsampled = {.h = low[1], .w = low[2], .c = low[3]};
    }
    joined.operations.emplace_back(std::move(both));
  }
  graph.operations = std::move(joined.operations);
}

void join_pointwise(Graph& graph) {
  Joined joined{uses(graph)};
  for (const Operation& operation : graph.operations) {
    const auto* second = std::get_if<ConvOperation>(&operation);
    std::optional<Operation> first;
    if (second != nullptr && second->pointwise())
      first = joined.take(second->input, is_large_pointwise);
    if (first)
      joined.operations.emplace_back(
          PointwisePairOperation{std::get<ConvOperation>(*first), *second});
    else
      joined.operations.push_back(operation);
  }
  graph.operations = std::move(joined.operations);
}

}  // namespace decant
