#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "nn/parameter_set.h"

namespace decant::nn {

/// sgd: Nesterov or heavy-ball momentum, decay added to the gradient (L2).
/// adam: Kingma & Ba 2015, decay added to the gradient. adamw: Loshchilov & Hutter 2019, decoupled.
/// All as PyTorch defines them; the learning rate comes with every step. Parameters that no
/// gradient has arrived at are passed over (ParameterSet::reached); those that it reaches in some
/// steps only share the others' count of steps, where PyTorch counts for each.
struct OptimizerOptions {
  std::string name = "adam";  ///< sgd, adam or adamw
  double weight_decay = 0;
  double momentum = 0.9;  ///< of sgd
  bool nesterov = true;   ///< of sgd
  double beta1 = 0.9;     ///< of adam and adamw
  double beta2 = 0.999;
  double eps = 1e-8;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// Counts the next step and takes its learning rate, on cuda to where a recorded step reads it.
  virtual void begin_step(double learning_rate) = 0;
  /// Moves the values that gradients have arrived at. Between begin_step() and this nothing is read
  /// from the host, so that a step graph may record it.
  virtual void apply() = 0;
  void step(double learning_rate) {
    begin_step(learning_rate);
    apply();
  }

  /// What a resumed run needs to go on with the same bits: moments and the count of steps.
  virtual std::vector<NamedTensor> state() const = 0;
  /// Throws Error naming what is missing or of another shape or type.
  virtual void load_state(const std::vector<NamedTensor>& state) = 0;
};

/// `parameters` must outlive the optimizer. Throws Error where the name is unknown.
std::unique_ptr<Optimizer> make_optimizer(ParameterSet& parameters,
                                          const OptimizerOptions& options);
std::vector<std::string> optimizer_names();

/// Scales the gradients that a step takes (ParameterSet::reached) so that their Euclidean norm, all
/// together, is at most `limit` (0: no limit), by limit / (norm + 1e-6) as PyTorch; returns the
/// norm they had, 0 of none, a scalar where the gradients are (float64 on the CPU, float32 on cuda,
/// where nothing waits for it).
Tensor clip_gradients(ParameterSet& parameters, double limit);

}  // namespace decant::nn
