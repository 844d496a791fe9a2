#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <sstream>

#include "engine/check/gradient_check.h"
#include "engine/core/precision.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"

using namespace decant;

TEST_CASE("every registered op has a row") {
  for (const std::string& op : missing_rows()) FAIL_CHECK("no row in the op table for " << op);
}

TEST_CASE("every row of the op table passes all its checks") {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<RowReport> reports = run_rows();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::ostringstream text;
  print_reports(text, reports);
  MESSAGE(text.str() << elapsed.count() << " s");
  CHECK(all_passed(reports));
}

// A checker that cannot fail proves nothing: below are ops with the faults that backward passes
// have, each of which must be caught by the check that is for it.
namespace {

const OpInfo kFaulty = {.name = "faulty", .formula = "", .source = ""};

using Values = std::span<const double>;

// A faulty op on any type and device: forward and backward in double on the host, rounded at the
// end.
template <class Forward, class Backprop>
Variable faulty_op(const Variable& x, Forward forward, Backprop backprop) {
  const Device device = x.value().device();
  const Tensor in = x.value().to(Device::cpu).to(DType::f64);
  Tensor y(in.shape(), DType::f64);
  forward(in.values<double>(), y.mutable_values<double>());
  return record(kFaulty, y.to(x.dtype()).to(device), {x},
                [in, y, backprop, device, dtype = x.dtype()](const Tensor& dy, const Wanted&) {
                  const Tensor g = dy.to(Device::cpu).to(DType::f64);
                  Tensor dx(in.shape(), DType::f64);
                  backprop(in.values<double>(), y.values<double>(), g.values<double>(),
                           dx.mutable_values<double>());
                  return std::vector<Tensor>{dx.to(dtype).to(device)};
                });
}

void softmax_values(Values x, std::span<double> y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += y[i] = std::exp(x[i]);
  for (double& v : y) v /= sum;
}

void tanh_values(Values x, std::span<double> y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] = std::tanh(x[i]);
}

bool caught(const RowReport& report, const std::string& check) {
  for (const CheckResult& c : report.checks)
    if (c.check == check) return !c.passed && !c.message.empty();
  return false;
}

OpRow row_of(std::function<Variable(const Variable&)> f) {
  return {.op = "faulty",
          .variant = "planted",
          .inputs = {randn({6})},
          .call = [f](const std::vector<Variable>& x) { return f(x[0]); }};
}

}  // namespace

TEST_CASE("the checker passes the same op without a fault") {
  const RowReport report = run_row(row_of([](const Variable& x) {
    return faulty_op(x, tanh_values, [](Values, Values y, Values g, std::span<double> dx) {
      for (size_t i = 0; i < dx.size(); ++i) dx[i] = g[i] * (1 - y[i] * y[i]);
    });
  }));
  CHECK_MESSAGE(report.passed, report.message);
  CHECK(report.worst_gradient_error > 0);
}

TEST_CASE("the checker catches a sign error") {
  const RowReport report = run_row(row_of([](const Variable& x) {
    return faulty_op(x, tanh_values, [](Values, Values y, Values g, std::span<double> dx) {
      for (size_t i = 0; i < dx.size(); ++i) dx[i] = g[i] * (1 + y[i] * y[i]);
    });
  }));
  CHECK(caught(report, "gradient"));
}

TEST_CASE("the checker catches a missing term") {
  const RowReport report = run_row(row_of([](const Variable& x) {  // softmax without -y sum(g y)
    return faulty_op(x, softmax_values, [](Values, Values y, Values g, std::span<double> dx) {
      for (size_t i = 0; i < dx.size(); ++i) dx[i] = g[i] * y[i];
    });
  }));
  CHECK(caught(report, "gradient"));
}

TEST_CASE("the checker catches a gradient of zero where a plain sum of outputs has none") {
  const auto zero_gradient = [](const Variable& x) {
    return faulty_op(x, softmax_values, [](Values, Values, Values, std::span<double> dx) {
      for (double& d : dx) d = 0;
    });
  };
  CHECK(caught(run_row(row_of(zero_gradient)), "gradient"));
  OpRow large = row_of(zero_gradient);
  large.large = true;
  CHECK(caught(run_row(large), "gradient"));
}

TEST_CASE("the checker catches a NaN, an entry never written, and float32 arithmetic that is off") {
  const auto identity = [](Values, Values, Values g, std::span<double> dx) {
    std::ranges::copy(g, dx.begin());
  };
  CHECK(caught(run_row(row_of([&](const Variable& x) {
                 return faulty_op(
                     x,
                     [](Values in, std::span<double> y) {
                       std::ranges::copy(in, y.begin());
                       y[2] = std::nan("");
                     },
                     identity);
               })),
               "written"));
  CHECK(caught(run_row(row_of([&](const Variable& x) {
                 return faulty_op(
                     x,
                     [](Values in, std::span<double> y) {
                       std::copy(in.begin(), in.end() - 1, y.begin());
                     },
                     identity);
               })),
               "written"));
  CHECK(caught(run_row(row_of([&](const Variable& x) {
                 const double factor = x.dtype() == DType::f32 ? 1 + 1e-5 : 1;
                 return faulty_op(
                     x,
                     [factor](Values in, std::span<double> y) {
                       for (size_t i = 0; i < y.size(); ++i) y[i] = factor * in[i];
                     },
                     identity);
               })),
               "float32"));
}

// What is of another type than float32 is not exempt from being right.
TEST_CASE("the checker catches a value and a gradient of float64 where all is float32") {
  const auto factor_of = [](const Variable& x) { return x.dtype() == DType::f32 ? -100.0 : 1.0; };
  OpRow value = row_of(
      [&](const Variable& x) { return Variable(scale(x, factor_of(x)).value().to(DType::f64)); });
  value.constants = {0};
  CHECK(run_row(value).message == "float32: the value of float32 inputs is float64");
  const RowReport gradient = run_row(row_of([&](const Variable& x) {
    return record(kFaulty, x.value().clone(), {x},
                  [factor = factor_of(x)](const Tensor& dy, const Wanted&) {
                    return std::vector<Tensor>{scale(Variable(dy.to(DType::f64)), factor).value()};
                  });
  }));
  CHECK(caught(gradient, "float32"));
  CHECK(gradient.message ==
        "frozen: faulty: backward returned float64 [6] on cpu for input 0 of float32 [6] on cpu");
}

TEST_CASE(
    "the checker allows the value no more than its own sums, however long the gradients' are") {
  OpRow row = row_of([](const Variable& x) {
    const double factor = x.dtype() == DType::f32 ? 1 + 1e-5 : 1;
    return faulty_op(
        x,
        [factor](Values in, std::span<double> y) {
          for (size_t i = 0; i < y.size(); ++i) y[i] = factor * in[i];
        },
        [](Values, Values, Values g, std::span<double> dx) { std::ranges::copy(g, dx.begin()); });
  });
  row.gradient_products = {1e6};
  CHECK(caught(run_row(row), "float32"));
  row.products = 1e6;
  CHECK_FALSE(caught(run_row(row), "float32"));
}

#ifdef DECANT_WITH_CUDA
namespace {

// The values, on cuda in that mode with all but so many bits of their fraction cut off.
Variable cut(const Variable& x, Precision mode, int bits) {
  const bool cuts = x.value().device() == Device::cuda && precision() == mode;
  return faulty_op(
      x,
      [=](Values in, std::span<double> y) {
        for (size_t i = 0; i < y.size(); ++i) {
          int exponent = 0;
          const double fraction = std::ldexp(std::frexp(in[i], &exponent), bits + 1);
          y[i] = cuts ? std::ldexp(std::trunc(fraction), exponent - bits - 1) : in[i];
        }
      },
      [](Values, Values, Values g, std::span<double> dx) { std::ranges::copy(g, dx.begin()); });
}

RowReport run_product(Precision mode, int bits) {
  return run_row({.op = "matmul",
                  .variant = "planted",
                  .inputs = {randn({24, 40}, 1), randn({40, 16}, 2)},
                  .call =
                      [=](const std::vector<Variable>& x) {
                        return matmul(cut(x[0], mode, bits), cut(x[1], mode, bits));
                      },
                  .products = 40,
                  .gradient_products = {16, 24},
                  .large = true});
}

}  // namespace

TEST_CASE("the checker catches operands that keep fewer bits than the mode of a product has") {
  struct Mode {
    Precision precision;
    const char* check;
    int bits;  // of fraction
  };
  for (const Mode& mode :
       {Mode{Precision::tf32, "cuda tf32", 10}, Mode{Precision::bf16, "cuda bf16 products", 7}}) {
    CAPTURE(mode.check);
    const RowReport whole = run_product(mode.precision, 23);
    CHECK_MESSAGE(whole.passed, whole.message);
    CHECK(caught(run_product(mode.precision, mode.bits - 1), mode.check));
#ifdef DECANT_EMULATED  // which rounds what a card's cublasLt may cut off
    CHECK(caught(run_product(mode.precision, mode.bits), mode.check));
    CHECK_FALSE(caught(run_product(mode.precision, mode.bits), "cuda"));
#endif
  }
}
#endif

TEST_CASE("the checker catches results that change from call to call") {
  int calls = 0;
  CHECK(caught(run_row(row_of([&](const Variable& x) {
                 ++calls;
                 return faulty_op(
                     x,
                     [&](Values in, std::span<double> y) {
                       for (size_t i = 0; i < y.size(); ++i) y[i] = in[i] + 1e-12 * calls;
                     },
                     [](Values, Values, Values g, std::span<double> dx) {
                       std::ranges::copy(g, dx.begin());
                     });
               })),
               "same bits"));
}

TEST_CASE(
    "the checker catches a gradient that reaches a constant, and an op that is never called") {
  OpRow row = row_of([](const Variable& x) { return sum(x); });
  row.constants = {0};
  row.inputs.push_back(randn({6}));
  row.call = [](const std::vector<Variable>& x) { return sum(x[0]); };
  CHECK(caught(run_row(row), "frozen"));

  OpRow other = row_of([](const Variable& x) { return sum(x); });
  other.op = "mean";
  CHECK(caught(run_row(other), "called"));
  other.op = "maen";
  const CheckResult called = run_row(other).checks.at(0);
  CHECK(called.check == "called");
  CHECK(called.message == "not applicable: no op of this name");
}

TEST_CASE("a reject row fails where the call is accepted or says something else") {
  CHECK_FALSE(run_reject({"sum", "nothing", [] {}, "axis"}).passed);
  const auto call = [] { sum(Variable(randn({2})), {3}); };
  CHECK(run_reject({"sum", "axis", call, "axis 3 is outside of shape [2]"}).passed);
  CHECK_FALSE(run_reject({"sum", "axis", call, "axis 4"}).passed);
  CHECK_FALSE(run_reject({"mean", "axis", call, "axis 3"}).passed);
}

TEST_CASE("reports count rows and failures, and JSON holds every check") {
  const OpRow row = row_of([](const Variable& x) { return sum(x); });
  RowReport good = run_row(row);
  RowReport bad = good;
  bad.passed = false;
  bad.checks[0].passed = false;
  bad.checks[0].message = "a \"quoted\"\nline";
  std::ostringstream out;
  print_reports(out, {good, bad});
  CHECK(out.str().find("2 rows, 1 failed") != std::string::npos);
  const std::string json = reports_json({good, bad});
  CHECK(json.find("\"passed\": false, \"rows\"") != std::string::npos);
  CHECK(json.find("a \\\"quoted\\\"\\u000aline") != std::string::npos);
}
