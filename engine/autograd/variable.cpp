#include "engine/autograd/variable.h"

#include <algorithm>
#include <atomic>
#include <unordered_set>
#include <utility>

#include "engine/autograd/profile.h"
#include "engine/core/cuda_memory.h"
#include "engine/core/parallel.h"

namespace decant {

/// What an input's gradient must look like: as the input does.
struct Form {
  Shape shape;
  DType dtype;
  Device device;

  bool operator==(const Form&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Form& form) {
    return out << form.dtype << ' ' << form.shape << " on " << form.device;
  }
};

Form form_of(const Tensor& t) {
  return {t.shape(), t.dtype(), t.device()};
}

int64_t bytes_of(const Form& form) {
  return form.shape.size() * static_cast<int64_t>(size_of(form.dtype));
}

/// The op that made a value, or a leaf.
struct Node {
  const OpInfo* op = nullptr;  // nullptr: a leaf
  std::vector<std::shared_ptr<Node>> inputs;
  std::vector<Form> input_forms;
  Backward backward;
  uint64_t id = 0;  // creation order: inputs always have smaller ids than outputs
  bool used = false;

  // During a backward pass: the sum so far of what the node's readers sent back. Of a leaf: its
  // gradient, which stays. `holds_gradient` tells a view of a flat buffer that waits for its first
  // value from one that has it.
  Tensor gradient;
  bool holds_gradient = false;

  Node() = default;
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

// Releasing a chain of a million nodes recursively would overflow the stack, so a node hands its
// inputs to this loop instead.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> pending = std::move(inputs);
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    if (node == nullptr || node.use_count() > 1) continue;
    std::ranges::move(node->inputs, std::back_inserter(pending));
    node->inputs.clear();
  }
}

namespace {

std::atomic<uint64_t> next_id = 1;
thread_local bool grad_mode = true;

void add_in_place(Tensor& into, const Tensor& term) {
  if constexpr (kWithCuda)
    if (into.device() == Device::cuda)
      return with_stored_type(into.dtype(), [&]<class T>() {
        cuda_memory::add(into.mutable_device_data<T>(), term.device_data<T>(), into.size(),
                         into.dtype());
      });
  with_real_type(into.dtype(), [&]<class T>() {
    T* sum = into.mutable_data<T>();
    const T* t = term.data<T>();
    parallel_ranges(into.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum[i] += t[i];
    });
  });
}

// Adds a term to what a node has gathered. A term, which an op or a caller may still hold, is never
// written to: the first is kept as it came, and copied only once a second one arrives. A leaf has
// memory of its own, or a view of a flat buffer, and writes to it whoever looks on.
void gather(Node& node, const Tensor& term) {
  const bool leaf = node.op == nullptr;
  if (leaf && !node.holds_gradient && node.gradient.defined() && node.gradient.is_same(term)) {
    // written where it belongs
  } else if (leaf && node.gradient.defined()) {
    node.holds_gradient ? add_in_place(node.gradient, term) : node.gradient.copy_from(term);
  } else if (leaf) {
    node.gradient = term.clone();
  } else if (!node.holds_gradient) {
    node.gradient = term;
  } else {
    if (!node.gradient.sole_owner()) node.gradient = node.gradient.clone();
    add_in_place(node.gradient, term);
  }
  node.holds_gradient = true;
}

// All nodes that `root` depends on, newest first, which is a topological order.
std::vector<Node*> reachable(Node* root) {
  std::vector<Node*> order = {root};
  std::unordered_set<Node*> seen = {root};
  for (size_t i = 0; i < order.size(); ++i)
    for (const auto& input : order[i]->inputs)
      if (input != nullptr && seen.insert(input.get()).second) order.push_back(input.get());
  std::ranges::sort(order, std::ranges::greater(), &Node::id);
  return order;
}

// Where an input's gradient may be written at once: it is the first, and comes from here alone.
Tensor place_of(const Node& node, size_t i) {
  const Node* const input = node.inputs[i].get();
  const bool waits = input != nullptr && input->op == nullptr && !input->holds_gradient;
  const auto is_input = [&](const auto& other) { return other.get() == input; };
  return waits && std::ranges::count_if(node.inputs, is_input) == 1 ? input->gradient : Tensor();
}

void run_backward(Node& node) {
  std::vector<bool> wanted;
  std::vector<Tensor> places;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    wanted.push_back(node.inputs[i] != nullptr);
    places.push_back(place_of(node, i));
  }
  int64_t bytes = bytes_of(form_of(node.gradient));
  const std::vector<Tensor> dx =
      node.backward(node.gradient, Wanted(std::move(wanted), std::move(places)));
  node.backward = nullptr;
  node.gradient = Tensor();
  check(dx.size() == node.inputs.size(), node.op->name, ": backward returned ", dx.size(),
        " gradients for ", node.inputs.size(), " inputs");
  for (size_t i = 0; i < dx.size(); ++i) {
    const bool is_wanted = node.inputs[i] != nullptr;
    check(dx[i].defined() == is_wanted, node.op->name, ": backward returned ",
          is_wanted ? "no gradient for input " : "a gradient nobody wanted for input ", i);
    if (!is_wanted) continue;
    check(form_of(dx[i]) == node.input_forms[i], node.op->name, ": backward returned ",
          form_of(dx[i]), " for input ", i, " of ", node.input_forms[i]);
    gather(*node.inputs[i], dx[i]);
  }
  if (Profile* profile = Profile::active()) {
    std::vector<Shape> inputs;
    for (const Form& form : node.input_forms) {
      inputs.push_back(form.shape);
      bytes += 2 * bytes_of(form);
    }
    profile->add({.op = node.op, .backward = true, .inputs = std::move(inputs), .bytes = bytes});
  }
}

}  // namespace

Tensor Wanted::place(size_t input, const Shape& shape, DType dtype, Device device) const {
  if (input < places_.size() && places_[input].defined() &&
      form_of(places_[input]) == Form{shape, dtype, device})
    return places_[input];
  return Tensor(shape, dtype, device);
}

Variable::Variable(Tensor value) : value_(std::move(value)), id_(next_id++) {}

Variable Variable::leaf(Tensor value) {
  Variable v(std::move(value));
  v.node_ = std::make_shared<Node>();
  v.node_->id = v.id_;
  return v;
}

Variable Variable::leaf(Tensor value, Tensor gradient) {
  check(form_of(gradient) == form_of(value), "Variable::leaf: expected a gradient of ",
        form_of(value), ", got ", form_of(gradient));
  Variable v = leaf(std::move(value));
  v.node_->gradient = std::move(gradient);
  return v;
}

Variable Variable::detach() const {
  Variable v;
  v.value_ = value_;
  v.id_ = id_;
  return v;
}

Variable Variable::with_recipe(Recipe recipe) const {
  Variable v = *this;
  v.recipe_ = std::make_shared<const Recipe>(std::move(recipe));
  v.recipe_version_ = v.value_.version();
  return v;
}

const Tensor& Variable::grad() const {
  check(node_ != nullptr && node_->op == nullptr, "Variable::grad: expected a leaf");
  static const Tensor none;
  return node_->holds_gradient ? node_->gradient : none;
}

void Variable::clear_grad() {
  check(node_ != nullptr && node_->op == nullptr, "Variable::clear_grad: expected a leaf");
  node_->holds_gradient = false;
}

bool grad_enabled() {
  return grad_mode;
}

NoGrad::NoGrad() : previous_(std::exchange(grad_mode, false)) {}
NoGrad::~NoGrad() {
  grad_mode = previous_;
}

Tensor Saved::get() const {
  if (recipe_ != nullptr) return (*recipe_)();
  check(!tensor_.defined() || tensor_.version() == version_, "Saved: a value of shape ",
        tensor_.shape(), " kept for the backward pass was overwritten before it ran");
  return tensor_;
}

Variable make_result(const OpInfo& op, Tensor y, const std::vector<Variable>& inputs,
                     Backward backward) {
  Variable result(std::move(y));
  if (grad_mode && std::ranges::any_of(inputs, &Variable::requires_grad)) {
    auto node = std::make_shared<Node>();
    node->op = &op;
    node->id = result.id_;
    node->backward = std::move(backward);
    for (const Variable& input : inputs) {
      node->inputs.push_back(input.node_);
      node->input_forms.push_back(form_of(input.value()));
    }
    result.node_ = std::move(node);
  }
  if (Profile* profile = Profile::active()) {
    std::vector<Shape> shapes;
    int64_t bytes = bytes_of(form_of(result.value()));
    for (const Variable& input : inputs) {
      shapes.push_back(input.shape());
      bytes += bytes_of(form_of(input.value()));
    }
    profile->add({.op = &op, .backward = false, .inputs = std::move(shapes), .bytes = bytes});
  }
  return result;
}

void trace_step(const OpInfo& op, Attributes attributes, const std::vector<Variable>& inputs,
                const Variable& y) {
  Trace::Step step{.op = &op,
                   .attributes = std::move(attributes),
                   .inputs = {},
                   .input_shapes = {},
                   .output = y.id(),
                   .output_shape = y.shape(),
                   .scope = {}};
  std::vector<Tensor> values;
  for (const Variable& input : inputs) {
    step.inputs.push_back(input.id());
    step.input_shapes.push_back(input.shape());
    values.push_back(input.value());
  }
  Trace::active()->add(std::move(step), values);
}

void backward(const Variable& y, const Tensor& seed) {
  check(y.requires_grad(), "backward: nothing below this value needs a gradient");
  check(form_of(seed) == form_of(y.value()), "backward: expected a seed of ", form_of(y.value()),
        ", got ", form_of(seed));
  const std::vector<Node*> order = reachable(y.node_.get());
  for (const Node* node : order)
    check(!node->used, "backward: second pass through the same graph, first at op ",
          node->op == nullptr ? "" : node->op->name);
  gather(*y.node_, seed);
  if (Profile* profile = Profile::active()) profile->skip();
  for (Node* node : order) {
    if (node->op == nullptr) continue;
    node->used = true;
    // A node stays without a gradient where every reader declared it unwanted; none does so here,
    // since a reader's inputs are wanted exactly where they have a node.
    run_backward(*node);
  }
}

void backward(const Variable& y) {
  check(y.shape().size() == 1, "backward: expected one element or a seed, got ", y.shape());
  backward(y, Tensor::full(y.shape(), 1, y.dtype(), y.value().device()));
}

}  // namespace decant
