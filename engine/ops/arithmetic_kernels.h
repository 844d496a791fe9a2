#pragma once

#include "engine/core/host_device.h"
#include "engine/core/tensor.h"
#include "engine/ops/pair_walk.h"

namespace decant {
namespace pairwise {

struct Add {
  template <class T>
  HOST_DEVICE static T f(T a, T b) {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  HOST_DEVICE static T f(T a, T b) {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  HOST_DEVICE static T f(T a, T b) {
    return a * b;
  }
};
struct Divide {
  template <class T>
  HOST_DEVICE static T f(T a, T b) {
    return a / b;
  }
};

}  // namespace pairwise

namespace cuda {

/// y = F::f(a, b), y dense, a and b where the walk leads: its fastest axis has distances 0 or 1.
template <class F>
void map_pair(const Tensor& a, const Tensor& b, const PairWalk& walk, Tensor& y);

/// y = factor x + c
void scale_add(const Tensor& x, double factor, double c, Tensor& y);

}  // namespace cuda
}  // namespace decant
