#include "engine/check/op_row.h"

#include <algorithm>
#include <iterator>

#include "engine/core/rng.h"

namespace decant {
namespace {

struct Source {
  std::vector<OpRow> (*rows)();
  std::vector<RejectRow> (*rejects)();
};

std::vector<Source>& sources() {
  static std::vector<Source> list;
  return list;
}

template <class Row, class Pick>
std::vector<Row> collect(Pick pick) {
  std::vector<Row> all;
  for (const Source& source : sources()) {
    const auto function = pick(source);
    if (function == nullptr) continue;
    std::vector<Row> rows = function();
    std::ranges::move(rows, std::back_inserter(all));
  }
  std::ranges::stable_sort(all, {}, &Row::op);
  return all;
}

}  // namespace

bool register_rows(std::vector<OpRow> (*rows)(), std::vector<RejectRow> (*rejects)()) {
  sources().push_back({rows, rejects});
  return true;
}

const std::vector<OpRow>& op_rows() {
  static const auto rows = collect<OpRow>([](const Source& s) { return s.rows; });
  return rows;
}

const std::vector<RejectRow>& reject_rows() {
  static const auto rows = collect<RejectRow>([](const Source& s) { return s.rejects; });
  return rows;
}

Tensor randn(Shape shape, uint64_t seed) {
  Tensor t(shape, DType::f64);
  const Rng rng(RngKey::of(seed, "randn"));
  uint64_t i = 0;
  for (double& v : t.mutable_values<double>()) v = rng.normal(i++);
  return t;
}

Tensor uniform(Shape shape, double low, double high, uint64_t seed) {
  Tensor t(shape, DType::f64);
  const Rng rng(RngKey::of(seed, "uniform"));
  uint64_t i = 0;
  for (double& v : t.mutable_values<double>()) v = rng.uniform(i++, low, high);
  return t;
}

}  // namespace decant
