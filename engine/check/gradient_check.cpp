#include "engine/check/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>

#include "engine/check/device_check.h"
#include "engine/check/reference_check.h"
#include "engine/check/row_run.h"
#include "engine/core/on_device.h"
#include "engine/core/parallel.h"

namespace decant {
namespace {

bool holds_nan(const Tensor& t) {
  if (!t.defined() || !is_real(t.dtype())) return false;
  return with_real_type(t.dtype(), [&]<class T>() {
    return std::ranges::any_of(t.values<T>(), [](T v) { return std::isnan(v); });
  });
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

// ---- frozen, accumulation -----------------------------------------------------------------------

// What is asked for decides which pass makes a gradient, never its bits.
CheckResult check_frozen(const OpRow& row, DType dtype) {
  const std::vector<size_t> leaves = differentiable_inputs(row);
  const Tensors inputs = inputs_as(row, dtype);
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
        return failed(
            str("freezing input ", frozen, " changes the ", dtype, " gradient of input ", k));
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
        return failed(
            str("asking for constant ", k, " changes the ", dtype, " gradient of input ", other));
  }
  return {};
}

CheckResult check_frozen(const OpRow& row) {
  CheckResult result = check_frozen(row, DType::f64);
  return result.passed ? check_frozen(row, DType::f32) : result;
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
    add_check(report, "cuda", [&] { return check_cuda(row, Precision::f32); });
    if (multiplies(row)) {
      add_check(report, "cuda tf32", [&] { return check_cuda(row, Precision::tf32); });
      add_check(report, "cuda bf16 products", [&] { return check_cuda(row, Precision::bf16); });
    }
    if (can_be_stored(row)) add_check(report, "cuda bf16", [&] { return check_cuda_bf16(row); });
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
