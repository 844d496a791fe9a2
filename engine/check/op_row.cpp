#include "engine/check/op_row.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

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
  static const auto rows = [] {
    std::vector<OpRow> all = collect<OpRow>([](const Source& s) { return s.rows; });
    for (const OpRow& row : all)
      check(row.gradient_products.empty() || row.gradient_products.size() >= row.inputs.size(),
            row.op, " (", row.variant, "): expected gradient_products of ", row.inputs.size(),
            " inputs, got ", row.gradient_products.size());
    return all;
  }();
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

Tensor distinct(Shape shape, double gap, uint64_t seed) {
  const Tensor order = randn(shape, seed);
  std::vector<size_t> rank(static_cast<size_t>(order.size()));
  std::iota(rank.begin(), rank.end(), size_t{0});
  std::ranges::sort(rank, {}, [v = order.values<double>()](size_t i) { return v[i]; });
  Tensor t(shape, DType::f64);
  const double centre = static_cast<double>(rank.size()) / 2;
  for (size_t i = 0; i < rank.size(); ++i)
    t.mutable_values<double>()[rank[i]] = gap * (static_cast<double>(i) - centre);
  return t;
}

Tensor clear_of(Tensor values, std::initializer_list<double> kinks) {
  constexpr double kClearance = 0.01;
  for (double& v : values.mutable_values<double>())
    for (const double kink : kinks)
      if (std::abs(v - kink) < kClearance) v = kink + (v < kink ? -kClearance : kClearance);
  return values;
}

}  // namespace decant
