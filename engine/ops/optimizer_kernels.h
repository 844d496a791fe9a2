#pragma once

#include <cmath>
#include <span>

#include "engine/core/host_device.h"
#include "engine/core/tensor.h"
#include "engine/ops/optimizer.h"

// What the updates of both devices share: their arithmetic, written once, apart from the numbers
// that change with every step.

namespace decant {

template <class T>
struct SgdRule {
  /// What changes: the learning rate, and the share of the momentum that stays (0 in the first
  /// step).
  struct Now {
    T rate, kept;
  };

  T momentum, decay;
  bool nesterov;

  explicit SgdRule(const SgdOptions& o)
      : momentum(static_cast<T>(o.momentum)),
        decay(static_cast<T>(o.weight_decay)),
        nesterov(o.nesterov) {}
  static Now now(const SgdOptions& o, bool first_step) {
    return {static_cast<T>(o.learning_rate), static_cast<T>(first_step ? 0 : o.momentum)};
  }

  HOST_DEVICE void operator()(const Now& now, T& value, T gradient, T& m) const {
    const T g = gradient + decay * value;
    m = now.kept == T(0) ? g : now.kept * m + g;
    value -= now.rate * (nesterov ? g + momentum * m : m);
  }
};

template <class T>
struct AdamRule {
  /// What changes: the learning rate with the first moment's correction, the second one's
  /// correction, and what a decoupled decay leaves of a value.
  struct Now {
    T rate, unbias, shrink;
  };

  T beta1, beta2, rest1, rest2, eps, decay;

  explicit AdamRule(const AdamOptions& o)
      : beta1(static_cast<T>(o.beta1)),
        beta2(static_cast<T>(o.beta2)),
        rest1(static_cast<T>(1 - o.beta1)),
        rest2(static_cast<T>(1 - o.beta2)),
        eps(static_cast<T>(o.eps)),
        decay(static_cast<T>(o.decoupled ? 0 : o.weight_decay)) {}
  static Now now(const AdamOptions& o) {
    const auto step = static_cast<double>(o.step);
    const double correction1 = 1 - std::pow(o.beta1, step);
    const double correction2 = 1 - std::pow(o.beta2, step);
    return {static_cast<T>(o.learning_rate / correction1),
            static_cast<T>(1 / std::sqrt(correction2)),
            static_cast<T>(o.decoupled ? 1 - o.learning_rate * o.weight_decay : 1)};
  }

  HOST_DEVICE void operator()(const Now& now, T& value, T gradient, T& m, T& v) const {
    const T g = gradient + decay * value;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    value = now.shrink * value - now.rate * m / (std::sqrt(v) * now.unbias + eps);
  }
};

template <class T>
struct EmaRule {
  /// What changes: the share of what comes in.
  struct Now {
    T share;
  };

  static Now now(double decay) { return {static_cast<T>(1 - decay)}; }

  HOST_DEVICE void operator()(const Now& now, T& average, T value) const {
    average += now.share * (value - average);
  }
};

namespace cuda {

/// `now`: what step_numbers() returns; where undefined it is uploaded.
void sgd_kernel(Tensor& values, const Tensor& gradients, Tensor& momentum,
                const SgdOptions& options, bool first_step, const Tensor& now);
void adam_kernel(Tensor& values, const Tensor& gradients, Tensor& m, Tensor& v,
                 const AdamOptions& options, const Tensor& now);
void ema_kernel(Tensor& average, const Tensor& values, double decay, const Tensor& now);

/// The sum of squares of all tensors together, [].
Tensor square_sum(std::span<const Tensor> tensors);
/// Clips their common norm; returns what it was, [].
Tensor clip_kernel(std::span<const Tensor> tensors, double limit);

/// x *= factor
void scale_kernel(Tensor& x, double factor);

}  // namespace cuda
}  // namespace decant
