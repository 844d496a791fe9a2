#pragma once

#include <string_view>

#include "engine/autograd/variable.h"

namespace decant {

/// Pointwise functions that batch_norm applies on the way out.
enum class Activation : uint8_t { none, relu, relu6, hard_swish, silu };

std::string_view name_of(Activation activation);

struct BatchNormOptions {
  bool training = false;  ///< normalise by the batch's moments, and update the running ones
  double momentum = 0.1;  ///< weight of the new value in the running moments
  double eps = 1e-5;
  Activation activation = Activation::none;

  void visit(auto&& v) const {
    v("training", training);
    v("momentum", momentum);
    v("eps", eps);
    v("activation", name_of(activation));
  }
};

/// Batch normalization over all axes but the last, then a residual and an activation in one pass.
///   x [.., C], scale [C], shift [C], residual as x or absent -> y as x
///   y = act((x - mean) / sqrt(var + eps) * scale + shift + residual)
/// Training: mean and var of the batch, var divided by the count. The running moments [C] are
/// buffers, updated in place: running = (1 - momentum) running + momentum moment, with the
/// *unbiased* var (divided by count - 1). Otherwise mean and var are the running ones.
/// Derivatives at kinks are zero (relu, relu6).
/// Throws Error if shapes or types do not agree, unless eps > 0 and 0 <= momentum <= 1, and in
/// training with one value per channel, whose deviation does not exist. Source: Ioffe & Szegedy
/// 2015, "Batch normalization", algorithm 1.
Variable batch_norm(const Variable& x, const Variable& scale, const Variable& shift,
                    Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                    const Variable& residual = {});

}  // namespace decant
