#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/autograd/op_info.h"
#include "engine/autograd/trace.h"
#include "engine/core/tensor.h"

namespace decant {

struct Node;

/// Which inputs of an op need a gradient: a closure computes those and no other.
class Wanted {
 public:
  explicit Wanted(std::vector<bool> inputs, std::vector<Tensor> places = {})
      : inputs_(std::move(inputs)), places_(std::move(places)) {}
  bool operator[](size_t input) const { return inputs_[input]; }

  /// Memory for the gradient of an input that looks as said. A leaf that waits for its first
  /// gradient offers its own, so that nothing is copied there afterwards: every element must be
  /// written.
  Tensor place(size_t input, const Shape& shape, DType dtype, Device device) const;

 private:
  std::vector<bool> inputs_;
  std::vector<Tensor> places_;  // undefined, or none at all, where new memory must do
};

/// dL/dy -> one dL/dx per input, in the order of the inputs; an undefined Tensor{} where it is not
/// wanted. Called once at most, then destroyed with all it captured.
using Backward = std::function<std::vector<Tensor>(const Tensor& dy, const Wanted& wanted)>;

/// Makes a value again, bit for bit.
using Recipe = std::function<Tensor()>;

/// A tensor that remembers how it was made.
///
/// Its node, an edge of the graph, points to the op that *made* the value, never to the value: an
/// activation lives as long as somebody holds it, or a closure saved it, and no longer. A Variable
/// without a node is a constant. A default-constructed one is "absent": ops take it for an optional
/// input such as a bias.
class Variable {
 public:
  Variable() = default;

  /// A constant: no gradient flows into it.
  explicit Variable(Tensor value);

  /// A parameter or another input that gradients are wanted for.
  static Variable leaf(Tensor value);
  /// The same, its gradient written into `gradient` (a view of a flat buffer, say), which must have
  /// the value's shape and type.
  static Variable leaf(Tensor value, Tensor gradient);

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  /// Tells values apart in a Trace; copies of a Variable have the same.
  uint64_t id() const { return id_; }

  bool requires_grad() const { return node_ != nullptr; }
  /// The same value, also to a Trace, as a constant.
  Variable detach() const;

  /// The same variable, of which ops that keep its value for their backward pass keep the recipe
  /// instead: for values that are large and cheap to make from others that are kept anyway. Between
  /// the passes their memory is free. A recipe of a value that was written to since is not kept,
  /// the value is. What the recipe captured lives as long as the variable or an op that kept it.
  Variable with_recipe(Recipe recipe) const;

  /// Of a leaf: what backward() has added up since the last clear_grad(). Undefined where nothing
  /// has arrived. Valid until the next backward(), which writes to the same memory: clone it to
  /// keep it. Throws Error for anything but a leaf.
  const Tensor& grad() const;
  /// Of a leaf: the next gradient is written instead of added.
  void clear_grad();

 private:
  friend class Saved;
  friend Variable make_result(const OpInfo&, Tensor, const std::vector<Variable>&, Backward);
  friend void backward(const Variable&, const Tensor&);

  Tensor value_;
  std::shared_ptr<Node> node_;
  std::shared_ptr<const Recipe> recipe_;
  uint64_t recipe_version_ = 0;  // of the value that the recipe makes
  uint64_t id_ = 0;
};

/// Whether ops on this thread remember how to go backward. True unless a NoGrad lives.
bool grad_enabled();

/// While it lives, results on this thread are constants and nothing is saved for backward.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

/// A value kept for the backward pass: a tensor and the state it was in, or how to make it again.
class Saved {
 public:
  Saved() = default;
  explicit Saved(Tensor t) : tensor_(std::move(t)) {
    if (tensor_.defined()) version_ = tensor_.version();
  }
  explicit Saved(const Variable& v) {
    if (v.recipe_ != nullptr && v.value_.version() == v.recipe_version_)
      recipe_ = v.recipe_;
    else
      *this = Saved(v.value());
  }

  bool defined() const { return tensor_.defined() || recipe_ != nullptr; }
  /// Throws Error if the memory was written to since. A value with a recipe is made anew each time:
  /// call it once.
  Tensor get() const;

 private:
  Tensor tensor_;
  uint64_t version_ = 0;
  std::shared_ptr<const Recipe> recipe_;
};

/// The part of record() that no options pass through.
Variable make_result(const OpInfo& op, Tensor y, const std::vector<Variable>& inputs,
                     Backward backward);
void trace_step(const OpInfo& op, Attributes attributes, const std::vector<Variable>& inputs,
                const Variable& y);

/// Ends every op: wraps the forward result and, if any input needs a gradient, remembers how to go
/// back. What the closure captures is all the memory the op keeps: capture Saved tensors, never
/// Variables, which would keep their graph alive.
///
///   return record(kSquare, y, {x}, [x = Saved(x)](const Tensor& dy, const Wanted&) { ... });
inline Variable record(const OpInfo& op, Tensor y, const std::vector<Variable>& inputs,
                       Backward backward) {
  Variable result = make_result(op, std::move(y), inputs, std::move(backward));
  if (Trace::active() != nullptr) trace_step(op, {}, inputs, result);
  return result;
}

/// The same for an op with options: a struct with `void visit(auto&& v) const` that calls
/// v("stride", stride) and so on.
template <class Options>
Variable record(const OpInfo& op, const Options& options, Tensor y,
                const std::vector<Variable>& inputs, Backward backward) {
  Variable result = make_result(op, std::move(y), inputs, std::move(backward));
  if (Trace::active() != nullptr) {
    AttributeCollector collector;
    options.visit(collector);
    trace_step(op, collector.take(), inputs, result);
  }
  return result;
}

/// Adds d(sum(y * seed)) / d(leaf) to the gradient of every leaf below y, and takes the graph down
/// as it goes: each closure is destroyed once it has run. Throws Error on a second pass through the
/// same graph, and where y needs no gradient.
void backward(const Variable& y, const Tensor& seed);
/// The same for a y of one element, with seed 1.
void backward(const Variable& y);

}  // namespace decant
