#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"

namespace decant {

/// One row of the op table: an op, or a whole term built of ops, closed over its options as a
/// function of its tensor inputs. All checks of a row (gradient_check.h) follow from it.
struct OpRow {
  std::string op;              ///< OpInfo::name; of a composed term its own name, "kd.logits.kld"
  std::string variant;         ///< what this row adds: "stride 2, groups 4"
  std::vector<Tensor> inputs;  ///< float64 values, away from kinks; the float32 checks convert them
  std::function<Variable(const std::vector<Variable>& x)> call;

  /// How many products an entry of the value adds up, and one of each input's gradient, in the
  /// order of the inputs; without gradient_products they are as many as the value's. Each
  /// quantity's float32 tolerance follows from its own: kappa (sqrt(products) + 4) 2^-24.
  double products = 1;
  std::vector<double> gradient_products = {};
  double kappa = 1;
  /// How many times larger the CPU's float32 algorithm lets these errors grow than a plain sum
  /// (Winograd's convolution does), of the value and, where there are any, of each gradient.
  double cpu_growth = 1;
  std::vector<double> gradient_cpu_growth = {};
  /// Inputs that no gradient flows into (targets, masks, a teacher's maps): asking for one must
  /// leave it without.
  std::vector<size_t> constants = {};
  /// Too large to be differenced entry by entry: the gradient is checked along random directions.
  bool large = false;
};

/// A call that must be refused with an Error whose message contains `message`, which by the
/// project's grammar begins with the op's name.
struct RejectRow {
  std::string op;
  std::string what;  ///< "rank 3 input"
  std::function<void()> call;
  std::string message;
};

/// Adds rows to the table; a file-scope constant of each rows_*.cpp holds what it returns. The
/// functions are called when the table is first asked for.
bool register_rows(std::vector<OpRow> (*rows)(), std::vector<RejectRow> (*rejects)() = nullptr);

const std::vector<OpRow>& op_rows();
const std::vector<RejectRow>& reject_rows();

/// Standard normal float64 values, the same for the same shape and seed.
Tensor randn(Shape shape, uint64_t seed = 1);
/// Uniform float64 values in [low, high).
Tensor uniform(Shape shape, double low, double high, uint64_t seed = 1);
/// Values `gap` apart in random order, centred at 0: for ops that pick the largest, whose gradient
/// jumps where two are equal.
Tensor distinct(Shape shape, double gap = 0.01, uint64_t seed = 1);
/// The values, those within 0.01 of a kink moved to 0.01 on their side of it.
Tensor clear_of(Tensor values, std::initializer_list<double> kinks);

}  // namespace decant
