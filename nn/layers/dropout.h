#pragma once

#include "engine/ops/dropout.h"
#include "nn/module.h"

namespace decant::nn {

/// While training, dropout of x by random numbers of the pass that are this module's alone; else x.
inline Variable drop(const Module& module, const Pass& pass, const Variable& x, double p,
                     DropoutOf of) {
  return pass.training ? dropout(x, p, pass.key.part(module.path()), of, pass.stream) : x;
}

}  // namespace decant::nn
