#include "engine/check/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <optional>

#include "engine/core/allocator.h"
#include "engine/core/cuda_memory.h"
#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/core/rng.h"
#ifdef DECANT_EMULATED
#include "engine/cuda/emulated/schedule.h"
#endif

namespace decant {
namespace {

using Tensors = std::vector<Tensor>;

// What a row gave: its value, and the gradient of each input where one arrived.
struct Outcome {
  Tensor y;
  Tensors gradients;
};

bool contains(const std::vector<size_t>& list, size_t value) {
  return std::ranges::find(list, value) != list.end();
}

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

// The random weighting of the outputs: a plain sum would be blind to whatever an op conserves (a
// softmax sums to 1 whatever its input is). Exact in `exact_in`, so that all wider types share it.
Tensor weighting(const Shape& shape, DType dtype, DType exact_in = DType::f32) {
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

// Forward, and backward into the inputs named by `leaves`.
Outcome run(const OpRow& row, const Tensors& inputs, const std::vector<size_t>& leaves,
            DType weights = DType::f32) {
  std::vector<Variable> variables;
  const Variable y = call_with_leaves(row, inputs, leaves, variables);
  if (y.requires_grad())
    backward(y, weighting(y.shape(), y.dtype(), weights).to(y.value().device()));
  Outcome outcome = {y.value(), {}};
  for (const Variable& x : variables)
    outcome.gradients.push_back(x.requires_grad() ? x.grad() : Tensor());
  return outcome;
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

bool holds_nan(const Tensor& t) {
  if (!t.defined() || !is_real(t.dtype())) return false;
  return with_real_type(t.dtype(), [&]<class T>() {
    return std::ranges::any_of(t.values<T>(), [](T v) { return std::isnan(v); });
  });
}

// Where two outcomes differ, "" where nowhere.
std::string difference(const Outcome& a, const Outcome& b) {
  if (!same_bits(a.y, b.y)) return "the value";
  for (size_t i = 0; i < a.gradients.size(); ++i)
    if (!same_bits(a.gradients[i], b.gradients[i])) return str("the gradient of input ", i);
  return "";
}

CheckResult failed(std::string message) {
  return {.check = "", .passed = false, .error = 0, .tolerance = 0, .message = std::move(message)};
}

// Sets the number of threads while it lives.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : previous_(num_threads()) {
    if (count != previous_) set_num_threads(count);
  }
  ~ThreadCount() {
    if (num_threads() != previous_) set_num_threads(previous_);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int previous_;
};

// ---- gradient -----------------------------------------------------------------------------------

// sum(w (f(x + step) - f(x - step))): the difference is taken entry by entry, before weighting, to
// lose the fewest digits.
class Differencer {
 public:
  explicit Differencer(const OpRow& row) : row_(row), inputs_(inputs_as(row, DType::f64)) {
    for (Tensor& x : inputs_) x = x.clone();
  }

  Tensor& input(size_t k) { return inputs_[k]; }

  Tensor value() const {
    const NoGrad guard;
    return row_.call(std::vector<Variable>(inputs_.begin(), inputs_.end())).value().clone();
  }

  static double weighted_difference(const Tensor& plus, const Tensor& minus, const Tensor& w) {
    double sum = 0;
    const auto p = plus.values<double>();
    const auto m = minus.values<double>();
    const auto weights = w.values<double>();
    for (size_t i = 0; i < p.size(); ++i) sum += weights[i] * (p[i] - m[i]);
    return sum;
  }

 private:
  const OpRow& row_;
  Tensors inputs_;
};

constexpr double kStep = 1e-5;

struct Worst {
  double error = 0;
  std::string where;

  void add(double analytic, double numeric, const std::string& place) {
    const double e = std::abs(analytic - numeric) / std::max(1.0, std::abs(numeric));
    if (e <= error) return;  // NaN is never below, and stays once it is there
    if (std::isnan(error)) return;
    error = e;
    where = str(place, ": analytic ", analytic, ", numeric ", numeric);
  }
};

void difference_entries(const OpRow& row, size_t k, const Tensor& gradient, Worst& worst) {
  Differencer f(row);
  const Tensor w = weighting(f.value().shape(), DType::f64);
  for (int64_t i = 0; i < gradient.size(); ++i) {
    const double x = f.input(k).data<double>()[i];
    const double h = kStep * std::max(1.0, std::abs(x));
    f.input(k).mutable_data<double>()[i] = x + h;
    const Tensor plus = f.value();
    f.input(k).mutable_data<double>()[i] = x - h;
    const Tensor minus = f.value();
    f.input(k).mutable_data<double>()[i] = x;
    const double width = (x + h) - (x - h);
    worst.add(gradient.data<double>()[i], Differencer::weighted_difference(plus, minus, w) / width,
              str("input ", k, " of ", gradient.shape(), ", element ", i));
  }
}

void difference_directions(const OpRow& row, size_t k, const Tensor& gradient, Worst& worst) {
  constexpr uint64_t kDirections = 2;
  Differencer f(row);
  const Tensor w = weighting(f.value().shape(), DType::f64);
  const Tensor at = f.input(k).clone();
  for (uint64_t d = 0; d < kDirections; ++d) {
    const Tensor direction = randn(gradient.shape(), 1000 + d);
    const auto move = [&](double h) {
      auto* x = f.input(k).mutable_data<double>();
      for (int64_t i = 0; i < at.size(); ++i)
        x[i] = at.data<double>()[i] + h * direction.data<double>()[i];
      return f.value();
    };
    const Tensor plus = move(kStep);
    const Tensor minus = move(-kStep);
    worst.add(dot(gradient, direction),
              Differencer::weighted_difference(plus, minus, w) / (2 * kStep),
              str("input ", k, " of ", gradient.shape(), ", direction ", d));
  }
}

CheckResult check_gradient(const OpRow& row) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  const Outcome outcome = run(row, inputs_as(row, DType::f64), leaves);
  Worst worst;
  for (const size_t k : leaves) {
    if (!outcome.gradients[k].defined()) return failed(str("no gradient arrived at input ", k));
    (row.large ? difference_directions : difference_entries)(row, k, outcome.gradients[k], worst);
  }
  CheckResult result = {.check = "", .error = worst.error, .tolerance = 1e-7, .message = ""};
  result.passed = worst.error <= result.tolerance;
  if (!result.passed) result.message = worst.where;
  return result;
}

// ---- float32 ------------------------------------------------------------------------------------

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

// The inputs of a row that are given to a device, and what the weighting of its output is exact in.
struct Given {
  Tensors inputs;
  DType weights = DType::f32;
};

// In float64 what an op gives for what was `given`: what is measured is the op, not the conversion.
Outcome run_reference(const OpRow& row, const Given& given) {
  Tensors inputs;
  for (size_t i = 0; i < given.inputs.size(); ++i)
    inputs.push_back(is_real(row.inputs[i].dtype()) ? given.inputs[i].to(DType::f64)
                                                    : given.inputs[i]);
  return run(row, inputs, differentiable_inputs(row), given.weights);
}

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

// ---- same bits, written -------------------------------------------------------------------------

// Called with one thread; float32 is what people run, so it gets every count.
CheckResult check_same_bits(const OpRow& row) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensors inputs = inputs_as(row, dtype);
    const Outcome first = run(row, inputs, leaves);
    if (const std::string d = difference(first, run(row, inputs, leaves)); !d.empty())
      return failed(str("run twice in ", dtype, ", ", d, " differs"));
    for (const int threads : {2, 7}) {
      if (dtype == DType::f64 && threads == 2) continue;
      const ThreadCount guard(threads);
      if (const std::string d = difference(first, run(row, inputs, leaves)); !d.empty())
        return failed(str("with ", threads, " threads in ", dtype, ", ", d, " differs"));
    }
  }
  return {};
}

class Poison {
 public:
  Poison() { set(true); }
  ~Poison() {
#ifndef DECANT_CHECK_MEMORY
    set(false);
#endif
  }
  Poison(const Poison&) = delete;
  Poison& operator=(const Poison&) = delete;

 private:
  static void set(bool on) {
    cpu_memory::set_poison(on);
    if constexpr (kWithCuda) cuda_memory::set_poison(on);
  }
};

CheckResult check_written(const OpRow& row) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensors inputs = inputs_as(row, dtype);
    const Outcome plain = run(row, inputs, leaves);
    const Poison guard;
    const Outcome poisoned = run(row, inputs, leaves);
    if (holds_nan(poisoned.y)) return failed(str("the ", dtype, " value holds NaN"));
    for (size_t i = 0; i < poisoned.gradients.size(); ++i)
      if (holds_nan(poisoned.gradients[i]))
        return failed(str("the ", dtype, " gradient of input ", i, " holds NaN"));
    if (const std::string d = difference(plain, poisoned); !d.empty())
      return failed(str("with fresh memory poisoned, ", d, " differs in ", dtype));
  }
  return {};
}

// ---- cuda ---------------------------------------------------------------------------------------

Outcome run_on_cuda(const OpRow& row, const Given& given) {
  Tensors inputs;
  for (const Tensor& x : given.inputs) inputs.push_back(x.to(Device::cuda));
  Outcome outcome = run(row, inputs, differentiable_inputs(row), given.weights);
  check(outcome.y.device() == Device::cuda, row.op, ": the value does not lie on cuda");
  outcome.y = outcome.y.to(Device::cpu);
  for (Tensor& dx : outcome.gradients)
    if (dx.defined()) dx = dx.to(Device::cpu);
  return outcome;
}

#ifdef DECANT_EMULATED
// While it lives, the device takes its liberties: blocks and threads in another order, and
// everything as late as it may be.
class OtherSchedule {
 public:
  OtherSchedule() { emulated::set_schedule({.seed = previous_.seed + 1, .late = true}); }
  ~OtherSchedule() { emulated::set_schedule(previous_); }
  OtherSchedule(const OtherSchedule&) = delete;
  OtherSchedule& operator=(const OtherSchedule&) = delete;

 private:
  emulated::Schedule previous_ = emulated::schedule();
};
#else
struct OtherSchedule {};
#endif

// Fresh memory is full of NaN, so that an element which is read or left unwritten shows; and the
// second run takes another order where the device lets us choose it.
CheckResult check_on_cuda(const OpRow& row, const Given& given) {
  const Poison poison;
  const Outcome first = run_on_cuda(row, given);
  {
    [[maybe_unused]] const OtherSchedule guard;
    if (const std::string d = difference(first, run_on_cuda(row, given)); !d.empty())
      return failed(str("run twice, ", d, " differs"));
  }
  return compare_with_reference(row, given, first);
}

CheckResult check_cuda(const OpRow& row) {
  return check_on_cuda(row, {inputs_as(row, DType::f32)});
}

const OpInfo* op_of(const OpRow& row) {
  const auto ops = registered_ops();
  const auto op = std::ranges::find(ops, row.op, &OpInfo::name);
  return op == ops.end() ? nullptr : *op;
}

InputSet stored_inputs(const OpRow& row) {
  const OpInfo* op = op_of(row);
  return op == nullptr ? kNoInput : op->stored;
}

CheckResult check_bf16(const OpRow& row) {
  Given given = {inputs_as(row, DType::f32), DType::bf16};
  for (size_t i = 0; i < given.inputs.size(); ++i)
    if ((stored_inputs(row) >> i & 1U) != 0)
      given.inputs[i] = to_real(given.inputs[i], DType::bf16);
  return check_on_cuda(row, given);
}

// ---- frozen, accumulation -----------------------------------------------------------------------

CheckResult check_frozen(const OpRow& row) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  const Tensors inputs = inputs_as(row, DType::f64);
  const Outcome all = run(row, inputs, leaves);

  for (const size_t frozen : leaves) {
    std::vector<size_t> others = leaves;
    std::erase(others, frozen);
    std::vector<Variable> variables;
    if (call_with_leaves(row, inputs, others, variables).requires_grad() != !others.empty())
      return failed(str("with input ", frozen, " frozen, the result ",
                        others.empty() ? "asks for" : "forgets", " gradients"));
    const Outcome outcome = run(row, inputs, others);
    for (const size_t k : others)
      if (!same_bits(outcome.gradients[k], all.gradients[k]))
        return failed(str("freezing input ", frozen, " changes the gradient of input ", k));
  }

  for (const size_t k : row.constants) {
    if (!is_real(row.inputs[k].dtype())) continue;
    std::vector<size_t> more = leaves;
    more.push_back(k);
    const Outcome outcome = run(row, inputs, more);
    if (outcome.gradients[k].defined())
      return failed(str("a gradient arrived at input ", k, ", which is a constant of the op"));
    for (const size_t other : leaves)
      if (!same_bits(outcome.gradients[other], all.gradients[other]))
        return failed(str("asking for constant ", k, " changes the gradient of input ", other));
  }
  return {};
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a.data<double>()[i] - b.data<double>()[i]);
    if (!(d <= largest)) largest = d;
  }
  return largest;
}

Tensor sum_of(const Tensor& a, const Tensor& b) {
  Tensor sum = a.clone();
  auto* out = sum.mutable_data<double>();
  for (const double v : b.values<double>()) *out++ += v;
  return sum;
}

// Two passes over the same leaves add up, exactly: g + g is 2 g.
CheckResult check_two_passes(const OpRow& row, const std::vector<size_t>& leaves) {
  const Tensors inputs = inputs_as(row, DType::f64);
  const Outcome once = run(row, inputs, leaves);
  std::vector<Variable> variables;
  const Variable y = call_with_leaves(row, inputs, leaves, variables);
  backward(y, weighting(y.shape(), y.dtype()));
  const Variable again = row.call(variables);
  backward(again, weighting(again.shape(), again.dtype()));
  for (const size_t k : leaves)
    if (!same_bits(variables[k].grad(), sum_of(once.gradients[k], once.gradients[k])))
      return failed(str("two passes do not add up at input ", k));
  return {};
}

// f(x, x), one leaf in two places, gives that leaf the sum of what two leaves would get. The order
// of additions inside a composed term may differ, hence a few roundings.
CheckResult check_shared(const OpRow& row, const std::vector<size_t>& leaves) {
  for (size_t a = 0; a < leaves.size(); ++a)
    for (size_t b = a + 1; b < leaves.size(); ++b) {
      const size_t i = leaves[a];
      const size_t j = leaves[b];
      if (row.inputs[i].shape() != row.inputs[j].shape()) continue;
      Tensors inputs = inputs_as(row, DType::f64);
      inputs[j] = inputs[i];
      const Outcome apart = run(row, inputs, leaves);
      std::vector<Variable> variables;
      for (const Tensor& x : inputs) variables.emplace_back(x);
      variables[i] = variables[j] = Variable::leaf(inputs[i]);
      const Variable y = row.call(variables);
      backward(y, weighting(y.shape(), y.dtype()));
      const Tensor expected = sum_of(apart.gradients[i], apart.gradients[j]);
      const double allowed = 0x1p-48 * (norm_of(apart.gradients[i]) + norm_of(apart.gradients[j]));
      const double error = largest_difference(variables[i].grad(), expected);
      if (!(error <= allowed))
        return failed(str("one leaf as inputs ", i, " and ", j, " gets a gradient off by ", error));
      return {};  // one pair says it all
    }
  return {};
}

CheckResult check_accumulation(const OpRow& row) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  CheckResult result = check_two_passes(row, leaves);
  return result.passed ? check_shared(row, leaves) : result;
}

// A row that never calls its op proves nothing about it. Only ops that record leave a trace.
CheckResult check_called(const OpRow& row) {
  const OpInfo* op = op_of(row);
  if (op == nullptr) return {.check = "", .message = "not applicable: no op of this name"};
  if (!op->differentiable)
    return {.check = "", .message = "not applicable: the op records nothing"};
  const Trace trace;
  const Tensors inputs = inputs_as(row, DType::f64);
  row.call(std::vector<Variable>(inputs.begin(), inputs.end()));
  const bool called =
      std::ranges::any_of(trace.steps(), [&](const auto& step) { return step.op == op; });
  return called ? CheckResult{} : failed("the row never calls this op");
}

template <class F>
void add_check(RowReport& report, const char* name, F&& f) {
  CheckResult result;
  try {
    result = f();
  } catch (const std::exception& e) {
    result = failed(e.what());
  }
  result.check = name;
  if (!result.passed && report.passed) {
    report.passed = false;
    report.message = str(name, ": ", result.message);
  }
  report.checks.push_back(std::move(result));
}

}  // namespace

RowReport run_row(const OpRow& row) {
  RowReport report = {.op = row.op, .variant = row.variant, .checks = {}, .message = ""};
  const ThreadCount guard(1);  // most calls are cheaper than handing them over
  add_check(report, "called", [&] { return check_called(row); });
  if (!differentiable_inputs(row).empty()) {
    add_check(report, "gradient", [&] { return check_gradient(row); });
    report.worst_gradient_error = report.checks.back().error;
    add_check(report, "frozen", [&] { return check_frozen(row); });
    add_check(report, "accumulation", [&] { return check_accumulation(row); });
  }
  add_check(report, "float32", [&] { return check_float32(row); });
  add_check(report, "same bits", [&] { return check_same_bits(row); });
  add_check(report, "written", [&] { return check_written(row); });
  if constexpr (kWithCuda) {
    add_check(report, "cuda", [&] { return check_cuda(row); });
    if (stored_inputs(row) != kNoInput)
      add_check(report, "cuda bf16", [&] { return check_bf16(row); });
  }
  return report;
}

RowReport run_reject(const RejectRow& row) {
  RowReport report = {
      .op = row.op, .variant = str("rejects ", row.what), .checks = {}, .message = ""};
  add_check(report, "rejects", [&]() -> CheckResult {
    std::optional<std::string> message;
    try {
      row.call();
    } catch (const Error& e) {
      message = e.what();
    }
    if (!message) return failed("was accepted");
    if (!message->starts_with(row.op)) return failed(str("does not begin with its op: ", *message));
    if (message->find(row.message) == std::string::npos)
      return failed(str("expected \"", row.message, "\", got \"", *message, '"'));
    return {};
  });
  return report;
}

std::vector<RowReport> run_rows(std::string_view filter) {
  const auto wanted = [filter](const std::string& op, const std::string& variant) {
    return str(op, ' ', variant).find(filter) != std::string::npos;
  };
  std::vector<RowReport> reports;
  for (const OpRow& row : op_rows())
    if (wanted(row.op, row.variant)) reports.push_back(run_row(row));
  for (const RejectRow& row : reject_rows())
    if (wanted(row.op, str("rejects ", row.what))) reports.push_back(run_reject(row));
  std::ranges::stable_sort(reports, {}, &RowReport::op);
  return reports;
}

std::vector<std::string> missing_rows() {
  std::vector<std::string> missing;
  for (const OpInfo* op : registered_ops())
    if (std::ranges::find(op_rows(), op->name, &OpRow::op) == op_rows().end())
      missing.emplace_back(op->name);
  return missing;
}

bool all_passed(const std::vector<RowReport>& reports) {
  return std::ranges::all_of(reports, &RowReport::passed);
}

}  // namespace decant
