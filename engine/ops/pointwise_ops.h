#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "engine/core/host_device.h"

// One struct per op y = f(x), written once and compiled for both devices. `df` is dy/dx, computed
// from what kReads names, x or y: that tensor is all that the op keeps for its backward pass. Where
// both would do it is y, which the op that follows often keeps as well. f of NaN is NaN:
// comparisons are written so that it falls through to x.

namespace decant::pointwise {

enum class Reads : uint8_t { x, y };

struct Relu {
  static constexpr std::string_view kName = "relu";
  static constexpr std::string_view kFormula = "y = max(x, 0)";
  static constexpr std::string_view kSource = "Nair & Hinton 2010";
  static constexpr Reads kReads = Reads::y;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return x < T(0) ? T(0) : x;
  }
  template <class T>
  HOST_DEVICE static T df(T y) {
    return y > T(0) ? T(1) : T(0);
  }
};

struct Relu6 {
  static constexpr std::string_view kName = "relu6";
  static constexpr std::string_view kFormula = "y = min(max(x, 0), 6)";
  static constexpr std::string_view kSource = "Krizhevsky 2010; Howard et al. 2017";
  static constexpr Reads kReads = Reads::y;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return x < T(0) ? T(0) : (x > T(6) ? T(6) : x);
  }
  template <class T>
  HOST_DEVICE static T df(T y) {
    return y > T(0) && y < T(6) ? T(1) : T(0);
  }
};

struct Sigmoid {
  static constexpr std::string_view kName = "sigmoid";
  static constexpr std::string_view kFormula = "y = 1 / (1 + exp(-x))";
  static constexpr std::string_view kSource = "Rumelhart et al. 1986";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return T(1) / (T(1) + std::exp(-x));
  }
  // y (1 - y) would cancel where y is near 1.
  template <class T>
  HOST_DEVICE static T df(T x) {
    const T e = std::exp(-std::abs(x));
    return e / ((T(1) + e) * (T(1) + e));
  }
};

struct Tanh {
  static constexpr std::string_view kName = "tanh";
  static constexpr std::string_view kFormula = "y = tanh(x)";
  static constexpr std::string_view kSource = "LeCun et al. 1998";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return std::tanh(x);
  }
  // 1 - y^2 would cancel where |y| is near 1.
  template <class T>
  HOST_DEVICE static T df(T x) {
    const T e = std::exp(T(-2) * std::abs(x));
    return T(4) * e / ((T(1) + e) * (T(1) + e));
  }
};

struct Silu {
  static constexpr std::string_view kName = "silu";
  static constexpr std::string_view kFormula = "y = x sigmoid(x)";
  static constexpr std::string_view kSource = "Elfwing et al. 2018; Ramachandran et al. 2017";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return x / (T(1) + std::exp(-x));
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    const T s = Sigmoid::f(x);
    return s * (T(1) + x * (T(1) - s));
  }
};

struct HardSigmoid {
  static constexpr std::string_view kName = "hard_sigmoid";
  static constexpr std::string_view kFormula = "y = min(max(x + 3, 0), 6) / 6";
  static constexpr std::string_view kSource = "Howard et al. 2019";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return Relu6::f(x + T(3)) * T(1.0 / 6);
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    return x > T(-3) && x < T(3) ? T(1.0 / 6) : T(0);
  }
};

struct HardSwish {
  static constexpr std::string_view kName = "hard_swish";
  static constexpr std::string_view kFormula = "y = x min(max(x + 3, 0), 6) / 6";
  static constexpr std::string_view kSource = "Howard et al. 2019";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return x * HardSigmoid::f(x);
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    return x <= T(-3) ? T(0) : (x < T(3) ? x * T(1.0 / 3) + T(0.5) : T(1));
  }
};

struct Exp {
  static constexpr std::string_view kName = "exp";
  static constexpr std::string_view kFormula = "y = exp(x)";
  static constexpr std::string_view kSource = "elementary";
  static constexpr Reads kReads = Reads::y;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return std::exp(x);
  }
  template <class T>
  HOST_DEVICE static T df(T y) {
    return y;
  }
};

struct Log {
  static constexpr std::string_view kName = "log";
  static constexpr std::string_view kFormula = "y = log(x)";
  static constexpr std::string_view kSource = "elementary";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return std::log(x);
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    return T(1) / x;
  }
};

struct Sqrt {
  static constexpr std::string_view kName = "sqrt";
  static constexpr std::string_view kFormula = "y = sqrt(x)";
  static constexpr std::string_view kSource = "elementary";
  static constexpr Reads kReads = Reads::y;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return std::sqrt(x);
  }
  template <class T>
  HOST_DEVICE static T df(T y) {
    return T(0.5) / y;
  }
};

struct Abs {
  static constexpr std::string_view kName = "abs";
  static constexpr std::string_view kFormula = "y = |x|, derivative 0 at 0";
  static constexpr std::string_view kSource = "elementary";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return std::abs(x);
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    return x > T(0) ? T(1) : (x < T(0) ? T(-1) : T(0));
  }
};

struct Square {
  static constexpr std::string_view kName = "square";
  static constexpr std::string_view kFormula = "y = x^2";
  static constexpr std::string_view kSource = "elementary";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return x * x;
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    return T(2) * x;
  }
};

struct Softplus {
  static constexpr std::string_view kName = "softplus";
  static constexpr std::string_view kFormula = "y = log(1 + exp(x))";
  static constexpr std::string_view kSource = "Dugas et al. 2001";
  static constexpr Reads kReads = Reads::x;
  template <class T>
  HOST_DEVICE static T f(T x) {
    return (x > T(0) ? x : T(0)) + std::log1p(std::exp(-std::abs(x)));
  }
  template <class T>
  HOST_DEVICE static T df(T x) {
    return Sigmoid::f(x);
  }
};

/// dy/dx at x.
template <class Op, class T>
HOST_DEVICE T slope_at(T x) {
  return Op::df(Op::kReads == Reads::x ? x : Op::f(x));
}

}  // namespace decant::pointwise

/// Every pointwise op. A new op is one struct above and one line here.
#define DECANT_POINTWISE_OPS(X) \
  X(relu, Relu)                 \
  X(relu6, Relu6)               \
  X(sigmoid, Sigmoid)           \
  X(tanh, Tanh)                 \
  X(silu, Silu)                 \
  X(hard_sigmoid, HardSigmoid)  \
  X(hard_swish, HardSwish)      \
  X(exp, Exp)                   \
  X(log, Log)                   \
  X(sqrt, Sqrt)                 \
  X(abs, Abs)                   \
  X(square, Square)             \
  X(softplus, Softplus)
