#include "nn/optimizer.h"

#include <utility>

#include "engine/core/nearest_name.h"
#include "engine/ops/optimizer.h"

namespace decant::nn {
namespace {

Tensor part(const Tensor& flat, const ParameterSet::Range& range) {
  return flat.view(range.offset, {range.size});
}

/// Flat moments of the set's layout by name, and the steps taken: all that optimizers keep.
class MomentOptimizer : public Optimizer {
 public:
  MomentOptimizer(ParameterSet& parameters, OptimizerOptions options,
                  std::vector<std::string> moments)
      : parameters_(parameters), options_(std::move(options)) {
    for (std::string& name : moments)
      moments_.push_back({std::move(name), Tensor::zeros(parameters.values().shape(),
                                                         parameters.dtype(), parameters.device())});
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> result = {{"step", Tensor::of<int64_t>({}, {steps_})}};
    for (const NamedTensor& moment : moments_)
      result.push_back({moment.name, moment.tensor.device() == Device::cpu
                                         ? moment.tensor.clone()
                                         : moment.tensor.to(Device::cpu)});
    return result;
  }

  void begin_step(double learning_rate) override {
    ++steps_;
    learning_rate_ = learning_rate;
    if (parameters_.device() == Device::cpu) return;
    const Tensor numbers = numbers_now();
    if (!now_.defined()) now_ = Tensor(numbers.shape(), numbers.dtype(), parameters_.device());
    now_.copy_from(numbers);
  }

  void load_state(const std::vector<NamedTensor>& state) override {
    const Tensor& steps = entry(state, "step", {}, DType::i64);
    for (const NamedTensor& moment : moments_)
      entry(state, moment.name, moment.tensor.shape(), moment.tensor.dtype());
    for (NamedTensor& moment : moments_)
      moment.tensor.copy_from(
          entry(state, moment.name, moment.tensor.shape(), moment.tensor.dtype()));
    steps_ = *steps.data<int64_t>();
  }

 protected:
  const Tensor& moment(size_t i) const { return moments_[i].tensor; }
  /// What the step that has begun gives the op's kernels, on the host.
  virtual Tensor numbers_now() const = 0;

  ParameterSet& parameters_;
  OptimizerOptions options_;
  int64_t steps_ = 0;  ///< begun
  double learning_rate_ = 0;
  Tensor now_;  ///< numbers_now() on cuda, where a recorded step reads them; undefined on the CPU

 private:
  static const Tensor& entry(const std::vector<NamedTensor>& state, const std::string& name,
                             const Shape& shape, DType dtype) {
    for (const NamedTensor& candidate : state) {
      if (candidate.name != name) continue;
      const Tensor& tensor = candidate.tensor;
      check(tensor.shape() == shape && tensor.dtype() == dtype, "optimizer: expected ", name, " ",
            dtype, ' ', shape, ", got ", tensor.dtype(), ' ', tensor.shape());
      return tensor;
    }
    throw Error(str("optimizer: the state lacks ", name));
  }

  std::vector<NamedTensor> moments_;
};

class Sgd : public MomentOptimizer {
 public:
  Sgd(ParameterSet& parameters, const OptimizerOptions& options)
      : MomentOptimizer(parameters, options, {"momentum"}) {}

  void apply() override {
    for (const ParameterSet::Range& range : parameters_.reached())
      sgd_step(part(parameters_.values(), range), part(parameters_.gradients(), range),
               part(moment(0), range), options_now(), is_first(), now_);
  }

 private:
  SgdOptions options_now() const {
    return {.learning_rate = learning_rate_,
            .momentum = options_.momentum,
            .nesterov = options_.nesterov,
            .weight_decay = options_.weight_decay};
  }
  bool is_first() const { return steps_ == 1; }
  Tensor numbers_now() const override { return step_numbers(options_now(), is_first()); }
};

class Adam : public MomentOptimizer {
 public:
  Adam(ParameterSet& parameters, const OptimizerOptions& options)
      : MomentOptimizer(parameters, options, {"m", "v"}) {}

  void apply() override {
    for (const ParameterSet::Range& range : parameters_.reached())
      adam_step(part(parameters_.values(), range), part(parameters_.gradients(), range),
                part(moment(0), range), part(moment(1), range), options_now(), now_);
  }

 private:
  AdamOptions options_now() const {
    return {.learning_rate = learning_rate_,
            .beta1 = options_.beta1,
            .beta2 = options_.beta2,
            .eps = options_.eps,
            .weight_decay = options_.weight_decay,
            .decoupled = options_.name == "adamw",
            .step = steps_};
  }
  Tensor numbers_now() const override { return step_numbers(options_now()); }
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(ParameterSet& parameters,
                                          const OptimizerOptions& options) {
  if (options.name == "sgd") return std::make_unique<Sgd>(parameters, options);
  if (options.name == "adam" || options.name == "adamw")
    return std::make_unique<Adam>(parameters, options);
  throw Error(str("optimizer: there is no \"", options.name, "\"; did you mean \"",
                  nearest_name(options.name, optimizer_names()), "\"?"));
}

std::vector<std::string> optimizer_names() {
  return {"sgd", "adam", "adamw"};
}

Tensor clip_gradients(ParameterSet& parameters, double limit) {
  check(limit >= 0, "clip_gradients: expected a limit of at least 0, got ", limit);
  std::vector<Tensor> gradients;
  for (const ParameterSet::Range& range : parameters.reached())
    gradients.push_back(part(parameters.gradients(), range));
  const Device device = parameters.device();
  if (gradients.empty())
    return Tensor::zeros({}, device == Device::cpu ? DType::f64 : DType::f32, device);
  return clip_norm(gradients, limit);
}

}  // namespace decant::nn
