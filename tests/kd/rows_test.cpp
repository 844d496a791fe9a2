#include <doctest/doctest.h>

#include <set>

#include "engine/check/gradient_check.h"

using namespace decant;

TEST_CASE("every term of the op table passes its checks") {
  const auto reports = run_rows("kd.");
  std::set<std::string> terms;
  for (const RowReport& report : reports) {
    CAPTURE(report.op);
    CAPTURE(report.variant);
    CAPTURE(report.message);
    CHECK(report.passed);
    CHECK(report.worst_gradient_error <= 1e-7);
    terms.insert(report.op);
  }
  CHECK(terms == std::set<std::string>{"kd.hidden.kld", "kd.hidden.mse", "kd.logits.kld",
                                       "kd.logits.mse", "kd.regressor.kld", "kd.regressor.mse",
                                       "kd.total"});
}
