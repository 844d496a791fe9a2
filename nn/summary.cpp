#include "nn/summary.h"

#include <algorithm>
#include <iomanip>
#include <map>
#include <sstream>

#include "engine/autograd/trace.h"

namespace decant::nn {
namespace {

std::map<std::string, int64_t> parameters_by_module(Module& module) {
  struct Counting : Visitor {
    void on_parameter(const std::string& path, Parameter& parameter) override {
      counts[path.substr(0, path.rfind('.'))] += parameter.shape.size();
    }
    std::map<std::string, int64_t> counts;
  };
  Counting visitor;
  module.visit(visitor);
  return std::move(visitor.counts);
}

/// Multiply-adds of one op, from its shapes.
int64_t macs_of(const Trace::Step& step) {
  const std::string_view op = step.op->name;
  const auto weight = [&] { return step.input_shapes.at(1); };
  // Each output of a convolution sums kH kW Cin / groups products, the weight's extents but its
  // first; each input of a transposed one enters as many.
  if (op == "conv2d") return step.output_shape.size() * (weight().size() / weight()[0]);
  if (op == "conv_transpose2d")
    return step.input_shapes.at(0).size() * (weight().size() / weight()[0]);
  if (op == "linear") return step.output_shape.size() * weight()[1];
  if (op == "matmul") return step.input_shapes.at(0).size() * step.output_shape[-1];
  return 0;
}

std::string with_separators(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace

Summary summarize(Network& network, int64_t height, int64_t width) {
  Summary summary;
  summary.input_shape = {1, height, width, network.spec().in_channels};
  summary.parameters = parameter_count(network);
  const auto element = static_cast<int64_t>(size_of(network.dtype()));

  const NoGrad no_grad;
  const Trace trace;
  network.forward(Variable(Tensor::zeros(summary.input_shape, network.dtype(), network.device())));

  std::map<std::string, int64_t> parameters = parameters_by_module(network);
  for (const Trace::Step& step : trace.steps()) {
    // One line per module; ops of an enclosing module between two of its parts get their own.
    if (summary.layers.empty() || summary.layers.back().name != step.scope) {
      summary.layers.push_back({.name = step.scope, .op = {}, .output_shape = {}});
      // A module that runs twice has its parameters once.
      summary.layers.back().parameters = std::exchange(parameters[step.scope], 0);
    }
    LayerSummary& layer = summary.layers.back();
    layer.op = step.op->name;
    layer.output_shape = step.output_shape;
    layer.macs += macs_of(step);
    layer.activation_bytes += step.output_shape.size() * element;
  }
  // What no step read: an EfficientNet's classifier keeps a convolution in every file of weights.
  for (const auto& [name, count] : parameters)
    if (count > 0)
      summary.layers.push_back(
          {.name = name, .op = "unused", .output_shape = {0}, .parameters = count});
  for (const LayerSummary& layer : summary.layers) {
    summary.macs += layer.macs;
    summary.activation_bytes += layer.activation_bytes;
  }
  return summary;
}

std::string Summary::text() const {
  size_t longest = 5;
  for (const LayerSummary& layer : layers) longest = std::max(longest, layer.name.size());
  std::ostringstream out;
  const auto line = [&](const std::string& name, const std::string& op, const std::string& shape,
                        const std::string& count, const std::string& work,
                        const std::string& memory) {
    out << std::left << std::setw(static_cast<int>(longest)) << name << "  " << std::setw(19) << op
        << std::setw(22) << shape << std::right << std::setw(12) << count << std::setw(16) << work
        << std::setw(13) << memory << '\n';
  };
  line("layer", "op", "output", "parameters", "MACs", "bytes");
  for (const LayerSummary& layer : layers)
    line(layer.name, layer.op, str(layer.output_shape), with_separators(layer.parameters),
         with_separators(layer.macs), with_separators(layer.activation_bytes));
  line("total", "", str(input_shape), with_separators(parameters), with_separators(macs),
       with_separators(activation_bytes));
  out << std::fixed << std::setprecision(2) << static_cast<double>(parameters) / 1e6
      << " M parameters, " << std::setprecision(3) << static_cast<double>(macs) / 1e9 << " GMACs, "
      << std::setprecision(1) << static_cast<double>(activation_bytes) / 1048576.0
      << " MiB of activations for an input of " << input_shape << '\n';
  return out.str();
}

}  // namespace decant::nn
