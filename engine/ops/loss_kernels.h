#pragma once

#include <cmath>
#include <string_view>

#include "engine/core/host_device.h"
#include "engine/core/tensor.h"

// What the losses of both devices share: their terms, written once, and how they hand over a mean.

namespace decant {

/// The elements of a loss that count. On the CPU `mask` has the loss's shape and was looked at; on
/// cuda one entry stands for `repeats` neighbours, `count` is not known to the host, and an entry
/// that is neither 0 nor 1 is kRefused.
struct Counted {
  static constexpr uint8_t kRefused = 2;

  Tensor mask;  ///< u8; undefined where all count
  int64_t repeats = 1;
  int64_t count = 0;

  const uint8_t* values() const { return mask.defined() ? mask.data<uint8_t>() : nullptr; }
};

/// A loss, and the number of terms it is the mean of: both of shape [] and where the loss's inputs
/// lie, so that neither pass of a step waits for them. The divisor is NaN where something was
/// refused.
struct Mean {
  Tensor value;
  Tensor divisor;
};

// One struct per loss that is a mean over elements: f(x, target), and df, its derivative in x. In
// these forms float32 keeps the digits of small values: near 0 a loss and its gradient are what a
// network that fits still learns from.
namespace element_loss {

/// log(1 + exp(-|x|)): softplus(x) less max(x, 0).
template <class T>
HOST_DEVICE T softplus_rest(T x) {
  return std::log1p(std::exp(-std::abs(x)));
}

template <class T>
HOST_DEVICE T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <class T>
HOST_DEVICE T softplus(T x) {
  return (x > T(0) ? x : T(0)) + softplus_rest(x);
}

template <class T>
struct BinaryCrossEntropy {
  static constexpr bool kProbabilities = true;  ///< what targets must be

  template <class U>
  BinaryCrossEntropy<U> as() const {
    return {};
  }
  HOST_DEVICE T f(T z, T y) const {
    return softplus_rest(z) + (z > T(0) ? (T(1) - y) * z : -y * z);
  }
  // sigmoid(z) - y over one divisor: what is subtracted was rounded least, and 1 - y is exact where
  // y is near 1.
  HOST_DEVICE T df(T z, T y) const {
    const T e = std::exp(-std::abs(z));
    return (z > T(0) ? (T(1) - y) - y * e : (T(1) - y) * e - y) / (T(1) + e);
  }
};

template <class T>
struct BernoulliKl {
  static constexpr bool kProbabilities = false;

  T temperature;

  template <class U>
  BernoulliKl<U> as() const {
    return {static_cast<U>(temperature)};
  }
  // p (a - b) + softplus(b) - softplus(a) = log1p(p expm1(d)) - p d with d = b - a; the same holds
  // for 1 - p and -d, and the smaller of the two probabilities is the one that rounds well.
  HOST_DEVICE T f(T student, T teacher) const {
    const T a = teacher / temperature;
    const T d = student / temperature - a;
    const T logit = -std::abs(a);
    const T p = sigmoid(logit);
    const T e = a > T(0) ? -d : d;
    constexpr int kFar = 20;  // where nothing cancels, and before expm1 overflows
    const T kl = e > T(kFar) ? softplus(logit + e) - softplus(logit) - p * e
                             : std::log1p(p * std::expm1(e)) - p * e;
    return temperature * temperature * kl;
  }
  // sigmoid(b) - sigmoid(a) as a product
  HOST_DEVICE T df(T student, T teacher) const {
    const T a = teacher / temperature;
    const T b = student / temperature;
    return temperature * (b > a ? -sigmoid(b) * sigmoid(-a) * std::expm1(a - b)
                                : sigmoid(-b) * sigmoid(a) * std::expm1(b - a));
  }
};

template <class T>
struct SquaredError {
  static constexpr bool kProbabilities = false;

  template <class U>
  SquaredError<U> as() const {
    return {};
  }
  HOST_DEVICE T f(T a, T b) const { return (a - b) * (a - b); }
  HOST_DEVICE T df(T a, T b) const { return T(2) * (a - b); }
};

}  // namespace element_loss

namespace cuda {

/// The mask as Counted has it on cuda; of its loss's shape, or with 1 for its last extent. What is
/// refused, or leaves nothing, shows in the mean.
Counted read_mask(std::string_view op, const Tensor& mask, const Shape& shape, int64_t repeats);

/// mean of loss.f; a target that counts and should be a probability but is none is refused.
template <template <class> class Loss>
Mean element_mean(const Loss<double>& loss, const Tensor& x, const Tensor& target,
                  const Counted& counted);
/// dx = dy / divisor loss.df, 0 where masked
template <template <class> class Loss>
void element_gradient(const Loss<double>& loss, const Tensor& x, const Tensor& target,
                      const Counted& counted, const Tensor& dy, const Tensor& divisor, Tensor& dx);

/// The class of each sample as int32: -1 where it does not count, -2 where it is refused.
Tensor kept_labels(const Tensor& labels, const Counted& samples, int64_t ignore_index,
                   int64_t classes);
Mean cross_entropy_mean(const Tensor& logits, const Tensor& labels);
void cross_entropy_gradient(const Tensor& logits, const Tensor& labels, const Tensor& dy,
                            const Tensor& divisor, Tensor& dx);

Mean kl_rows_mean(const Tensor& teacher, const Tensor& student, const Counted& counted,
                  double temperature);
void kl_rows_gradient(const Tensor& teacher, const Tensor& student, const Counted& counted,
                      double temperature, const Tensor& dy, const Tensor& divisor, Tensor& dx);

}  // namespace cuda
}  // namespace decant
