#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/autograd/op_info.h"
#include "engine/core/shape.h"
#include "engine/core/tensor.h"

namespace decant {

/// An op's options by name, as a trace keeps them.
using AttributeValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;
using Attributes = std::vector<std::pair<std::string, AttributeValue>>;

/// Records every op that runs on this thread during its lifetime: what was called, with which
/// options, on which values. The model summary, inference plans and exporters read this one record.
///
///   Trace trace;
///   const Variable y = network(x);
///   for (const Trace::Step& step : trace.steps()) ...
///
/// Values are told apart by Variable::id(); an id that no step produced is an input, a parameter
/// or a constant. Traces do not nest: beginning a second one is an Error.
class Trace {
 public:
  struct Step {
    const OpInfo* op;
    Attributes attributes;
    std::vector<uint64_t> inputs;     ///< Variable::id() of each input, 0 for an absent one
    std::vector<Shape> input_shapes;  ///< [] for an absent one
    uint64_t output;
    Shape output_shape;
    std::string scope;  ///< the module that called it, "encoder.layer1.0", where modules say so
    std::vector<Tensor> buffers = {};  ///< what it read beside its inputs: running moments
  };

  Trace();
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  const std::vector<Step>& steps() const { return steps_; }
  /// The value of an input that no step produced. Throws Error for any other id.
  const Tensor& constant(uint64_t id) const;

  /// The trace of this thread, or nullptr.
  static Trace* active();

  /// `inputs` as the step names them.
  void add(Step step, const std::vector<Tensor>& inputs);
  /// What the step just added read beside its inputs.
  void add_buffers(std::vector<Tensor> buffers);

  /// Names the module that runs while it lives: scopes nest, "encoder" then "encoder.layer1".
  class Scope {
   public:
    explicit Scope(std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    size_t previous_length_ = 0;
  };

 private:
  std::vector<Step> steps_;
  std::map<uint64_t, Tensor> constants_;
  std::set<uint64_t> produced_;
  std::string scope_;
};

/// Collects what an options struct visits: options.visit(collector).
class AttributeCollector {
 public:
  void operator()(std::string_view name, bool value) { add(name, value); }
  void operator()(std::string_view name, int value) { add(name, int64_t{value}); }
  void operator()(std::string_view name, int64_t value) { add(name, value); }
  void operator()(std::string_view name, double value) { add(name, value); }
  void operator()(std::string_view name, std::string_view value) { add(name, std::string(value)); }
  void operator()(std::string_view name, const char* value) { add(name, std::string(value)); }
  void operator()(std::string_view name, std::vector<int64_t> value) {
    add(name, std::move(value));
  }

  Attributes take() { return std::move(attributes_); }

 private:
  void add(std::string_view name, AttributeValue value) {
    attributes_.emplace_back(std::string(name), std::move(value));
  }

  Attributes attributes_;
};

}  // namespace decant
