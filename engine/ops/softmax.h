#pragma once

#include "engine/autograd/variable.h"

namespace decant {

/// Softmax along one axis.
///   x [..] -> y [..], y = exp(x - max) / sum(exp(x - max)) along `axis`
/// Throws Error for an axis of length 1: every result would be 1, the gradient 0, and a loss built
/// on it would silently teach nothing. A head with one logit has the Bernoulli form: sigmoid().
/// Source: Bridle 1990, "Probabilistic interpretation of feedforward classification outputs".
Variable softmax(const Variable& x, int axis);

/// y = x - max - log(sum(exp(x - max))) along `axis`: the logarithm of softmax(x, axis), finite
/// where softmax underflows. Throws Error as softmax does.
Variable log_softmax(const Variable& x, int axis);

}  // namespace decant
