#pragma once

#include "engine/core/tensor.h"

namespace decant {

// What happens to flat buffers of parameters between two backward passes. Nothing here is
// differentiable. All take tensors of equal shape and type (views of a ParameterSet's buffers, so
// a frozen range is simply not passed) and write in place; Error names the op and both shapes, or
// the option that makes no sense: expected are finite numbers of at least 0, momentum and betas
// below 1, eps above 0, and a decay of at most 1.

struct SgdOptions {
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;  ///< added to the gradient: L2
};

/// Stochastic gradient descent, as PyTorch's SGD with dampening 0.
///   g = gradient + weight_decay value;  m = first_step ? g : momentum m + g
///   value -= learning_rate (nesterov ? g + momentum m : m)
/// With momentum 0, `momentum` may be undefined and is not touched.
/// Source: Sutskever et al. 2013, in PyTorch's form (the learning rate outside of the velocity).
void sgd_step(Tensor values, const Tensor& gradients, Tensor momentum, const SgdOptions& options,
              bool first_step);

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< AdamW: decay shrinks the value instead of entering the gradient
  int64_t step = 1;        ///< counted from 1
};

/// Adam and AdamW. `m` and `v` start at zero.
///   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
///   value -= learning_rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
/// g includes weight_decay value, unless decoupled: then value *= 1 - learning_rate weight_decay
/// comes first.
/// Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
void adam_step(Tensor values, const Tensor& gradients, Tensor m, Tensor v,
               const AdamOptions& options);

/// The sum of squares, added up in float64 in an order that depends on the size alone.
double squared_norm(const Tensor& x);

/// x *= factor
void scale_in_place(Tensor x, double factor);
/// x = value
void fill(Tensor x, double value);
/// to = from
void copy(Tensor to, const Tensor& from);
/// average = decay average + (1 - decay) values
void ema_update(Tensor average, const Tensor& values, double decay);
/// The values rounded to another real type, in new memory.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace decant
