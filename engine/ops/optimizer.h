#pragma once

#include <span>

#include "engine/core/tensor.h"

namespace decant {

// What happens to flat buffers of parameters between two backward passes. Nothing here is
// differentiable. All take tensors of equal shape and type (views of a ParameterSet's buffers, so
// ranges that are frozen or that no gradient has arrived at are simply not passed) and write in
// place; Error names the op and both shapes, or the option that makes no sense: expected are finite
// numbers of at least 0, momentum and betas below 1, eps above 0, and a decay of at most 1.
//
// On cuda an update reads what changes from step to step (learning rate, step count) from device
// memory, so that a recorded step (cuda/step_graph.h) takes what was copied there since:
//   now.copy_from(step_numbers(options));  graph.run([&] { .. adam_step(w, g, m, v, options, now);
//   });
// Left undefined, `now` is made from the options, which no step may do while it is recorded. On the
// CPU it is not looked at.

struct SgdOptions {
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;  ///< added to the gradient: L2
};

/// float32 [2], on the CPU.
Tensor step_numbers(const SgdOptions& options, bool first_step);

/// Stochastic gradient descent, as PyTorch's SGD with dampening 0.
///   g = gradient + weight_decay value;  m = first_step ? g : momentum m + g
///   value -= learning_rate (nesterov ? g + momentum m : m)
/// With momentum 0, `momentum` may be undefined and is not touched.
/// Source: Sutskever et al. 2013, in PyTorch's form (the learning rate outside of the velocity).
void sgd_step(Tensor values, const Tensor& gradients, Tensor momentum, const SgdOptions& options,
              bool first_step, const Tensor& now = {});

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< AdamW: decay shrinks the value instead of entering the gradient
  int64_t step = 1;        ///< counted from 1
};

/// float32 [3], on the CPU.
Tensor step_numbers(const AdamOptions& options);

/// Adam and AdamW. `m` and `v` start at zero.
///   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
///   value -= learning_rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
/// g includes weight_decay value, unless decoupled: then value *= 1 - learning_rate weight_decay
/// comes first.
/// Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
void adam_step(Tensor values, const Tensor& gradients, Tensor m, Tensor v,
               const AdamOptions& options, const Tensor& now = {});

/// The sum of squares, added up in an order that depends on the size alone: on the CPU in float64.
/// On cuda it is waited for.
double squared_norm(const Tensor& x);
/// Scales all tensors so that their norm, as of one vector, is at most `limit` (0: no limit): by
/// limit / (norm + 1e-6), as PyTorch. Returns the norm that they had, [], where they lie: float64
/// on the CPU, float32 on cuda, where nothing waits for it.
Tensor clip_norm(std::span<const Tensor> tensors, double limit);

/// x *= factor
void scale_in_place(Tensor x, double factor);
/// x = value
void fill(Tensor x, double value);
/// to = from
void copy(Tensor to, const Tensor& from);

/// float32 [1], on the CPU: what ema_update reads.
Tensor step_numbers(double decay);

/// average += (1 - decay) (values - average), so that an average of equal values stays theirs.
void ema_update(Tensor average, const Tensor& values, double decay, const Tensor& now = {});

}  // namespace decant
