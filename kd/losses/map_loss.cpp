#include "kd/losses/map_loss.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/losses.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape_ops.h"

namespace decant::kd {
namespace {

void check_pair(const std::string& op, const MapPair& maps) {
  check(maps.student.shape() == maps.teacher.shape(), op,
        ": expected maps of one shape, got student ", maps.student.shape(), " and teacher ",
        maps.teacher.shape());
}

// On cuda nobody asks, since the answer would have to be waited for: there a mean of nothing is 0.
bool all_masked(const MapPair& maps) {
  if (!maps.mask.defined() || maps.mask.device() == Device::cuda) return false;
  const Tensor mask = maps.mask.to(DType::f64);
  return std::ranges::none_of(mask.values<double>(), [](double m) { return m != 0; });
}

// A zero that still reaches the student, so that a backward pass through it is no special case.
Variable nothing_to_compare(const MapPair& maps) {
  return scale(sum(maps.student), 0);
}

// [N, h, w, C] -> one distribution per row.
Variable rows_of(const Variable& map, KldAxis axis) {
  const Shape& s = map.shape();
  switch (axis) {
    case KldAxis::classes:
    case KldAxis::channel:
      return reshape(map, {s[0] * s[1] * s[2], s[3]});
    case KldAxis::spatial:
      return reshape(permute(map, {0, 3, 1, 2}), {s[0] * s[3], s[1] * s[2]});
    case KldAxis::flat:
      return reshape(map, {s[0], s[1] * s[2] * s[3]});
  }
  throw Error("map_kld: unknown axis");
}

// The mask with its one channel repeated for each of the map's, in the order of the map's rows.
Tensor mask_rows(const MapPair& maps, KldAxis axis) {
  if (!maps.mask.defined()) return {};
  const Shape& shape = maps.teacher.shape();
  const Variable ones(Tensor::full({1, 1, 1, shape[3]}, 1, maps.mask.dtype(), maps.mask.device()));
  return rows_of(mul(Variable(maps.mask), ones), axis).value();
}

}  // namespace

Variable map_mse(const std::string& op, const MapPair& maps) {
  check_pair(op, maps);
  if (all_masked(maps)) return nothing_to_compare(maps);
  return mse(maps.student, maps.teacher.detach(), maps.mask);
}

Variable map_kld(const std::string& op, const MapPair& maps, KldAxis axis, double temperature) {
  check_pair(op, maps);
  if (all_masked(maps)) return nothing_to_compare(maps);
  const KlOptions options = {.temperature = temperature};
  const Variable teacher = maps.teacher.detach();
  if (axis == KldAxis::classes && teacher.shape()[3] == 1)
    return kl_div_bernoulli(teacher, maps.student, options, maps.mask);
  const Variable p = rows_of(teacher, axis);
  check(p.shape()[1] > 1, op, ": expected at least two values to a distribution, got student ",
        maps.student.shape(), " and teacher ", maps.teacher.shape(), " over their ",
        axis == KldAxis::channel ? "channels" : "positions");
  return kl_div_rows(p, rows_of(maps.student, axis), options, mask_rows(maps, axis));
}

}  // namespace decant::kd
