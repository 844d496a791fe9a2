#include "engine/autograd/op_info.h"

#include <algorithm>
#include <vector>

namespace decant {
namespace {

// Built before main by the constants of all op files, whatever their order; never destroyed, since
// whatever ends after main may still name an op.
std::vector<const OpInfo*>& ops() {
  static auto& list = *new std::vector<const OpInfo*>;
  return list;
}

}  // namespace

const OpInfo& register_op(const OpInfo& info) {
  const auto* kept = new OpInfo(info);
  const auto place = std::ranges::upper_bound(ops(), kept->name, {}, &OpInfo::name);
  ops().insert(place, kept);
  return *kept;
}

std::span<const OpInfo* const> registered_ops() {
  return ops();
}

}  // namespace decant
