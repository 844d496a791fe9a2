#pragma once

#include "engine/ops/group_norm.h"
#include "nn/module.h"

namespace decant::nn {

/// Group normalization (engine/ops/group_norm.h). Named as PyTorch's GroupNorm: "weight", "bias".
class GroupNorm : public Module {
 public:
  GroupNorm(int64_t channels, int64_t groups);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  int64_t groups_;
  Parameter weight_;
  Parameter bias_;
};

}  // namespace decant::nn
