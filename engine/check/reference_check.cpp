#include "engine/check/reference_check.h"

#include <algorithm>
#include <cmath>

#include "engine/check/tolerance.h"

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

// The size of the smallest tensor whose entries are rounded: an input or the value.
int64_t fewest_values(const OpRow& row, InputSet multiplied, const Tensor& y) {
  int64_t fewest = y.size();
  for (size_t i = 0; i < row.inputs.size(); ++i)
    if (is_real(row.inputs[i].dtype()) && (multiplied == kNoInput || (multiplied >> i & 1U) != 0))
      fewest = std::min(fewest, row.inputs[i].size());
  return std::max<int64_t>(1, fewest);
}

}  // namespace

CheckResult compare_with_reference(const OpRow& row, const Given& given, const Outcome& single) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  const Outcome reference = run_reference(row, given);
  const OpInfo* op = op_of(row);
  const InputSet multiplied = op == nullptr ? kNoInput : op->multiplied;
  const int64_t values = fewest_values(row, multiplied, reference.y);

  CheckResult result = {.check = "", .tolerance = 1, .message = ""};
  // What is reported is the quantity nearest to its tolerance, or furthest beyond.
  const auto measure = [&](const Tensor& a, const Tensor& b, double products, double growth,
                           bool sums_operands, const std::string& what) {
    const bool stored = a.dtype() == DType::bf16 && given.weights == DType::bf16;
    if (a.dtype() != DType::f32 && !stored) {
      result.message = str(what, " of ", given.weights, " inputs is ", a.dtype());
      return;
    }
    const double error = relative_distance(a, b);
    const Precision coarse = stored ? Precision::bf16 : sums_operands ? given.mode : Precision::f32;
    // Of the result and what it was computed from; of both operands.
    const double allowed =
        tolerance(products, row.kappa * (given.device == Device::cpu ? growth : 1),
                  {.to = coarse, .of_each = 2, .values = values});
    if (error / allowed < result.error / result.tolerance) return;
    result.error = error;
    result.tolerance = allowed;
    if (!(error <= allowed))
      result.message = str(what, " differs by ", error, " from float64, allowed ", allowed);
  };
  measure(single.y, reference.y, row.products, row.cpu_growth, multiplied != kNoInput, "the value");
  for (const size_t k : leaves) {
    if (!single.gradients[k].defined() || !reference.gradients[k].defined())
      return failed(str("no gradient arrived at input ", k));
    measure(single.gradients[k], reference.gradients[k],
            row.gradient_products.empty() ? row.products : row.gradient_products.at(k),
            row.gradient_cpu_growth.empty() ? 1 : row.gradient_cpu_growth.at(k),
            (multiplied >> k & 1U) != 0, str("the gradient of input ", k));
  }
  result.passed = result.message.empty();
  return result;
}

CheckResult check_float32(const OpRow& row) {
  const Given given = {.inputs = inputs_as(row, DType::f32)};
  return compare_with_reference(row, given, run(row, given.inputs, differentiable_inputs(row)));
}

}  // namespace decant
