#pragma once

#include <cmath>
#include <string_view>

// One struct per op y = f(x), written once and compiled for both devices. `df` is dy/dx given x and
// y = f(x), so that an op can use whichever is cheaper.

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif

namespace decant::pointwise {

struct Relu {
  static constexpr std::string_view kName = "relu";
  static constexpr std::string_view kFormula = "y = max(x, 0)";
  static constexpr std::string_view kSource = "Nair & Hinton 2010";
  template <class T>
  HOST_DEVICE static T f(T x) {
    return x > T(0) ? x : T(0);
  }
  template <class T>
  HOST_DEVICE static T df(T x, T /*y*/) {
    return x > T(0) ? T(1) : T(0);
  }
};

struct Sigmoid {
  static constexpr std::string_view kName = "sigmoid";
  static constexpr std::string_view kFormula = "y = 1 / (1 + exp(-x))";
  static constexpr std::string_view kSource = "Rumelhart et al. 1986";
  template <class T>
  HOST_DEVICE static T f(T x) {
    return T(1) / (T(1) + std::exp(-x));
  }
  template <class T>
  HOST_DEVICE static T df(T /*x*/, T y) {
    return y * (T(1) - y);
  }
};

}  // namespace decant::pointwise

/// Every pointwise op. A new op is one struct above and one line here.
#define DECANT_POINTWISE_OPS(X) \
  X(relu, Relu)                 \
  X(sigmoid, Sigmoid)
