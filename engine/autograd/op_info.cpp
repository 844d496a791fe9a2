#include "engine/autograd/op_info.h"

#include <algorithm>
#include <vector>

namespace decant {
namespace {

// Built before main by the constants of all op files, whatever their order.
std::vector<const OpInfo*>& ops() {
  static std::vector<const OpInfo*> list;
  return list;
}

}  // namespace

const OpInfo& register_op(const OpInfo& info) {
  const auto* kept = new OpInfo(info);  // lives as long as the program
  const auto place = std::ranges::upper_bound(ops(), kept->name, {}, &OpInfo::name);
  ops().insert(place, kept);
  return *kept;
}

std::span<const OpInfo* const> registered_ops() {
  return ops();
}

}  // namespace decant
