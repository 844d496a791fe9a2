#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "engine/autograd/trace.h"
#include "nn/module.h"
#include "nn/onnx/graph.h"

namespace decant::nn {

/// Turns the steps of a trace into nodes of an ONNX graph, one after another.
///
/// Maps are [N, H, W, C] here and [N, C, H, W] there: axes and weights change their order, values
/// do not. A batch norm that alone reads a convolution becomes part of its weights. What an op
/// means is one function in lowering.cpp and one line of its table.
class OnnxLowering {
 public:
  using Step = Trace::Step;

  /// `steps` of a trace that has ended (what is computed here would become a part of it), of which
  /// `input` is the image, called `name` in the graph.
  OnnxLowering(Module& module, std::vector<Step> steps, uint64_t input, std::string name,
               OnnxGraph& graph);

  /// All steps. Throws Error naming the op that has no counterpart in ONNX's opset 13, and where
  /// it runs.
  void run();

  /// The graph's name of a value. Throws Error where no step made it.
  const std::string& name_of(uint64_t id) const;

  // For the functions of the table.

  OnnxGraph& graph() { return graph_; }
  const std::string& input(const Step& step, size_t i) const { return name_of(step.inputs.at(i)); }
  bool has_input(const Step& step, size_t i) const {
    return i < step.inputs.size() && step.inputs[i] != 0;
  }
  void set(const Step& step, const std::string& name) { names_[step.output] = name; }
  std::string add(const Step& step, std::string op, std::vector<std::string> inputs,
                  OnnxAttributes attributes = {}) {
    return graph_.add(step.scope, std::move(op), std::move(inputs), std::move(attributes));
  }

  struct Parameter {
    std::string path;
    Tensor value;
  };
  /// The parameter that is a step's input. Throws Error where that is something else.
  const Parameter& parameter(const Step& step, size_t i) const;
  const Tensor& buffer(const std::string& path) const { return buffers_.at(path); }
  /// The evaluating batch norm that alone reads the step's result; nullptr where there is none.
  const Step* norm_after(const Step& step) const;
  /// Whether norm_after() of an earlier step named this one, whose weights hold it now.
  bool is_folded(const Step& norm) const { return folded_.contains(norm.output); }
  void fold(const Step& norm) { folded_.insert(norm.output); }

 private:
  std::vector<Step> steps_;
  OnnxGraph& graph_;
  std::map<uint64_t, std::string> names_;
  std::map<uint64_t, Parameter> parameters_;
  std::map<std::string, Tensor> buffers_;
  std::multimap<uint64_t, const Step*> readers_;
  std::set<uint64_t> folded_;
};

}  // namespace decant::nn
