#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "engine/check/op_row.h"

namespace decant {

/// One check of one row: what it measured, against what it allows.
struct CheckResult {
  /// "called", "gradient", "float32", "same bits", "written", "frozen", "accumulation", "cuda",
  /// "cuda tf32", "cuda bf16 products", "cuda bf16"
  std::string check;
  bool passed = true;
  double error = 0;
  double tolerance = 0;
  std::string message;  ///< why it failed
};

struct RowReport {
  std::string op;
  std::string variant;
  std::vector<CheckResult> checks;
  double worst_gradient_error = 0;  ///< max |analytic - numeric| / max(1, |numeric|)
  bool passed = true;
  std::string message;  ///< of the first check that failed
};

/// All checks of one row:
///   called        the op it is named after is called; not applicable to composed terms and to ops
///                 that record nothing, which the result's message says
///   gradient      float64, random weighting of the outputs, central differences with
///                 h = 1e-5 max(1, |x|), error |a - n| / max(1, |n|) <= 1e-7; large rows along
///                 random directions
///   float32       value and gradients against float64, norm-wise
///   same bits     run twice, and with 1, 2 and 7 threads (float64: 1 and 7)
///   written       with fresh memory poisoned, no NaN in value and gradients
///   cuda          in builds that have a device: float32 there against float64 here, with the
///                 tolerance of float32; twice, with fresh memory poisoned, the same bits
///   cuda tf32, cuda bf16 products
///                 of an op that multiplies (OpInfo::multiplied): the same in these modes
///   cuda bf16     the same of the inputs that the op takes as bfloat16 there (OpInfo::stored)
///   frozen        each input frozen in turn: none arrives there, the others keep their bits
///   accumulation  a second pass adds to the first; f(x, x) adds both gradients
/// A row with every input constant gets the checks of values only.
/// Never throws for what a row does: an exception is a failed check with its message.
RowReport run_row(const OpRow& row);

/// The call must throw an Error that begins with the op's name and contains the row's message.
RowReport run_reject(const RejectRow& row);

/// Every row and reject row of an op whose "op variant" contains `filter`.
std::vector<RowReport> run_rows(std::string_view filter = "");

/// Names of registered ops that no row exercises.
std::vector<std::string> missing_rows();

bool all_passed(const std::vector<RowReport>& reports);

/// One line per op: rows, worst gradient error, pass or fail; then every failure in full.
void print_reports(std::ostream& out, const std::vector<RowReport>& reports);

/// {"passed": .., "rows": [{"op", "variant", "passed", "worst_gradient_error", "message",
/// "checks": [{"check", "passed", "error", "tolerance", "message"}]}]}
std::string reports_json(const std::vector<RowReport>& reports);

}  // namespace decant
