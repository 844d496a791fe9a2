#include "engine/check/row_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/core/allocator.h"
#include "engine/core/cuda_memory.h"

namespace decant {
namespace {

bool contains(const std::vector<size_t>& list, size_t value) {
  return std::ranges::find(list, value) != list.end();
}

void set_poison(bool on) {
  cpu_memory::set_poison(on);
  if constexpr (kWithCuda) cuda_memory::set_poison(on);
}

}  // namespace

std::vector<size_t> differentiable_inputs(const OpRow& row) {
  std::vector<size_t> inputs;
  for (size_t i = 0; i < row.inputs.size(); ++i)
    if (!contains(row.constants, i) && is_real(row.inputs[i].dtype())) inputs.push_back(i);
  return inputs;
}

Tensor to_real(const Tensor& t, DType dtype) {
  return is_real(t.dtype()) ? t.to(dtype) : t;
}

Tensors inputs_as(const OpRow& row, DType dtype) {
  Tensors inputs;
  for (const Tensor& x : row.inputs) inputs.push_back(to_real(x, dtype));
  return inputs;
}

Tensor weighting(const Shape& shape, DType dtype, DType exact_in) {
  // A row asks for the same one dozens of times, and drawing it costs more than most ops.
  thread_local Tensor single;
  thread_local Tensor twice;
  if (!single.defined() || single.shape() != shape) {
    single = randn(shape, 77).to(DType::f32);
    twice = single.to(DType::f64);
  }
  if (exact_in != DType::f32) return single.to(exact_in).to(dtype);
  return dtype == DType::f32 ? single : twice;
}

Variable call_with_leaves(const OpRow& row, const Tensors& inputs,
                          const std::vector<size_t>& leaves, std::vector<Variable>& variables) {
  variables.clear();
  for (size_t i = 0; i < inputs.size(); ++i)
    variables.push_back(contains(leaves, i) ? Variable::leaf(inputs[i]) : Variable(inputs[i]));
  return row.call(variables);
}

Outcome run(const OpRow& row, const Tensors& inputs, const std::vector<size_t>& leaves,
            DType weights) {
  std::vector<Variable> variables;
  const Variable y = call_with_leaves(row, inputs, leaves, variables);
  if (y.requires_grad())
    backward(y, weighting(y.shape(), y.dtype(), weights).to(y.value().device()));
  Outcome outcome = {y.value(), {}};
  for (const Variable& x : variables)
    outcome.gradients.push_back(x.requires_grad() ? x.grad() : Tensor());
  return outcome;
}

const OpInfo* op_of(const OpRow& row) {
  const auto ops = registered_ops();
  const auto op = std::ranges::find(ops, row.op, &OpInfo::name);
  return op == ops.end() ? nullptr : *op;
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  const auto x = a.values<double>();
  const auto y = b.values<double>();
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

double norm_of(const Tensor& a) {
  return std::sqrt(dot(a, a));
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  return with_type(a.dtype(), [&]<class T>() {
    return a.size() == 0 ||
           std::memcmp(a.data<T>(), b.data<T>(), static_cast<size_t>(a.size()) * sizeof(T)) == 0;
  });
}

std::string difference(const Outcome& a, const Outcome& b) {
  if (!same_bits(a.y, b.y)) return "the value";
  for (size_t i = 0; i < a.gradients.size(); ++i)
    if (!same_bits(a.gradients[i], b.gradients[i])) return str("the gradient of input ", i);
  return "";
}

CheckResult failed(std::string message) {
  return {.check = "", .passed = false, .error = 0, .tolerance = 0, .message = std::move(message)};
}

Poison::Poison() {
  set_poison(true);
}

Poison::~Poison() {
#ifndef DECANT_CHECK_MEMORY
  set_poison(false);
#endif
}

}  // namespace decant
