#include "engine/check/reference_check.h"

#include <cmath>

namespace decant {
namespace {

// |a - b| / |b| over all entries. Where b is 0 up to float64's rounding there is nothing to be
// relative to, and the difference itself counts.
double relative_distance(const Tensor& single, const Tensor& reference) {
  const Tensor a = single.to(DType::f64);
  const auto x = a.values<double>();
  const auto y = reference.values<double>();
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
  constexpr double kNothing = 1e-12;
  const double scale = norm_of(reference);
  return std::sqrt(squares) / (scale > kNothing ? scale : 1);
}

// In float64 what an op gives for what was `given`: what is measured is the op, not the conversion.
Outcome run_reference(const OpRow& row, const Given& given) {
  Tensors inputs;
  for (size_t i = 0; i < given.inputs.size(); ++i)
    inputs.push_back(is_real(row.inputs[i].dtype()) ? given.inputs[i].to(DType::f64)
                                                    : given.inputs[i]);
  return run(row, inputs, differentiable_inputs(row), given.weights);
}

}  // namespace

CheckResult compare_with_reference(const OpRow& row, const Given& given, const Outcome& single) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  const Outcome reference = run_reference(row, given);

  // Each product of a sum contributes a rounding of 2^-24, which add up like a random walk. The
  // factor is for what happens to an entry besides: up to four rounded operations before and after
  // the sum (an exp or a division counts as one), each at most 2^-24 of the entry.
  constexpr double kRoundings = 4;
  // A result that is stored as bfloat16 was rounded once more, to 8 bits: by at most 2^-8 of each
  // entry. As much again is for what it is computed from and was rounded before: a value that was
  // kept, a product before its sum. One stored as float32 beside them was not.
  constexpr double kStored = 2 * 0x1p-8;
  CheckResult result = {.check = "", .tolerance = 1, .message = ""};
  // What is reported is the quantity nearest to its tolerance, or furthest beyond.
  const auto measure = [&](const Tensor& a, const Tensor& b, double products,
                           const std::string& what) {
    const bool stored = a.dtype() == DType::bf16 && given.weights == DType::bf16;
    if (a.dtype() != DType::f32 && !stored) {
      result.message = str(what, " of ", given.weights, " inputs is ", a.dtype());
      return;
    }
    const double error = relative_distance(a, b);
    const double tolerance =
        row.kappa * (std::sqrt(products) + kRoundings) * 0x1p-24 + (stored ? kStored : 0);
    if (error / tolerance < result.error / result.tolerance) return;
    result.error = error;
    result.tolerance = tolerance;
    if (!(error <= tolerance))
      result.message = str(what, " differs by ", error, " from float64, allowed ", tolerance);
  };
  measure(single.y, reference.y, row.products, "the value");
  for (const size_t k : leaves) {
    if (!single.gradients[k].defined() || !reference.gradients[k].defined())
      return failed(str("no gradient arrived at input ", k));
    measure(single.gradients[k], reference.gradients[k],
            row.gradient_products.empty() ? row.products : row.gradient_products.at(k),
            str("the gradient of input ", k));
  }
  result.passed = result.message.empty();
  return result;
}

CheckResult check_float32(const OpRow& row) {
  const Given given = {inputs_as(row, DType::f32)};
  return compare_with_reference(row, given, run(row, given.inputs, differentiable_inputs(row)));
}

}  // namespace decant
