#pragma once

#include "engine/autograd/variable.h"

namespace decant {

struct GroupNormOptions {
  int64_t groups = 1;
  double eps = 1e-5;

  void visit(auto&& v) const {
    v("groups", groups);
    v("eps", eps);
  }
};

/// Group normalization: of each image by itself, over C/groups neighbouring channels and all
/// pixels. As many groups as channels is instance normalization, one group layer normalization.
///   x [N, H, W, C], scale [C] or absent, shift [C] or absent -> y [N, H, W, C]
///   y = (x - mean) / sqrt(var + eps) scale + shift,  mean, var over each [H, W, C/groups]
/// var is the biased variance (divided by the count, not count - 1). An absent scale is 1, an
/// absent shift 0.
/// Throws Error if groups does not divide C, shapes or types do not agree, unless eps > 0, and for
/// groups of one value, whose deviation does not exist.
/// Source: Wu & He 2018, "Group normalization", eq. 1.
Variable group_norm(const Variable& x, const Variable& scale, const Variable& shift,
                    const GroupNormOptions& options);

}  // namespace decant
