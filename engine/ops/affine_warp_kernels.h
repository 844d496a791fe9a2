#pragma once

#include <vector>

#include "engine/core/affine.h"
#include "engine/core/tensor.h"
#include "engine/ops/affine_warp.h"

namespace decant {

/// Maps from result to source, one per result image: on the CPU as they are, on cuda as a table.
struct WarpMaps {
  std::vector<Affine> to_source;
  Tensor table;  ///< warp_table(), on cuda
};

namespace cuda {

void warp_forward(const Tensor& x, const WarpMaps& maps, const WarpOptions& options, Tensor& y);
void warp_backward(const Tensor& dy, const WarpMaps& maps, const WarpOptions& options, Tensor& dx);
void coverage(const WarpMaps& maps, int64_t source_h, int64_t source_w, Tensor& y);

}  // namespace cuda
}  // namespace decant
