#pragma once

#include <string>
#include <vector>

#include "engine/check/gradient_check.h"

// How the checks call a row, and what they hold two calls against each other by.

namespace decant {

using Tensors = std::vector<Tensor>;

/// What a row gave: its value, and the gradient of each input where one arrived.
struct Outcome {
  Tensor y;
  Tensors gradients;
};

std::vector<size_t> differentiable_inputs(const OpRow& row);
/// Whole numbers stay what they are.
Tensor to_real(const Tensor& t, DType dtype);
Tensors inputs_as(const OpRow& row, DType dtype);
/// The op that a row is named after; nullptr for a composed term.
const OpInfo* op_of(const OpRow& row);

/// The random weighting of the outputs: a plain sum would be blind to whatever an op conserves (a
/// softmax sums to 1 whatever its input is). Exact in `exact_in`, so that all wider types share it.
Tensor weighting(const Shape& shape, DType dtype, DType exact_in = DType::f32);

/// Calls the row; those of `variables` that `leaves` names are leaves.
Variable call_with_leaves(const OpRow& row, const Tensors& inputs,
                          const std::vector<size_t>& leaves, std::vector<Variable>& variables);
/// Forward, and backward into the inputs named by `leaves`.
Outcome run(const OpRow& row, const Tensors& inputs, const std::vector<size_t>& leaves,
            DType weights = DType::f32);

double dot(const Tensor& a, const Tensor& b);
double norm_of(const Tensor& a);
bool same_bits(const Tensor& a, const Tensor& b);
/// Where two outcomes differ, "" where nowhere.
std::string difference(const Outcome& a, const Outcome& b);

CheckResult failed(std::string message);

/// While it lives, fresh memory of every device is full of NaN, so that an element which is read or
/// left unwritten shows.
class Poison {
 public:
  Poison();
  ~Poison();
  Poison(const Poison&) = delete;
  Poison& operator=(const Poison&) = delete;
};

}  // namespace decant
