#include "engine/ops/optimizer.h"

#include <algorithm>
#include <cmath>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/expect.h"
#include "engine/ops/optimizer_kernels.h"
#include "engine/ops/reduce_kernels.h"

namespace decant {
namespace cpu {
namespace {

void sgd_kernel(Tensor& values, const Tensor& gradients, Tensor& momentum,
                const SgdOptions& options, bool first_step, const Tensor& /*now*/) {
  with_real_type(values.dtype(), [&]<class T>() {
    T* w = values.mutable_data<T>();
    const T* dw = gradients.data<T>();
    T* m = options.momentum == 0 ? nullptr : momentum.mutable_data<T>();
    const SgdRule<T> rule(options);
    const auto now = SgdRule<T>::now(options, first_step);
    parallel_ranges(values.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      T none = 0;
      for (int64_t i = begin; i < end; ++i) rule(now, w[i], dw[i], m == nullptr ? none : m[i]);
    });
  });
}

void adam_kernel(Tensor& values, const Tensor& gradients, Tensor& first, Tensor& second,
                 const AdamOptions& options, const Tensor& /*now*/) {
  with_real_type(values.dtype(), [&]<class T>() {
    T* w = values.mutable_data<T>();
    const T* dw = gradients.data<T>();
    T* m = first.mutable_data<T>();
    T* v = second.mutable_data<T>();
    const AdamRule<T> rule(options);
    const auto now = AdamRule<T>::now(options);
    parallel_ranges(values.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) rule(now, w[i], dw[i], m[i], v[i]);
    });
  });
}

double square_sum_of(const Tensor& x) {
  return with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    return ordered_sum(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      constexpr int64_t kLanes = 8;  // independent sums, which the compiler keeps in registers
      double lane[kLanes] = {};
      int64_t i = begin;
      for (; i + kLanes <= end; i += kLanes)
        for (int64_t k = 0; k < kLanes; ++k) {
          const auto value = static_cast<double>(in[i + k]);
          lane[k] += value * value;
        }
      for (; i < end; ++i) lane[0] += static_cast<double>(in[i]) * static_cast<double>(in[i]);
      double sum = 0;
      for (const double part : lane) sum += part;
      return sum;
    });
  });
}

Tensor square_sum(std::span<const Tensor> tensors) {
  double sum = 0;
  for (const Tensor& x : tensors) sum += square_sum_of(x);
  return Tensor::full({}, sum, DType::f64);
}

void scale_kernel(Tensor& x, double factor) {
  with_real_type(x.dtype(), [&]<class T>() {
    T* out = x.mutable_data<T>();
    const T f = static_cast<T>(factor);
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] *= f;
    });
  });
}

Tensor clip_kernel(std::span<const Tensor> tensors, double limit) {
  const double norm = std::sqrt(square_sum(tensors).item());
  const double factor = limit / (norm + 1e-6);
  if (limit > 0 && factor < 1)
    for (Tensor x : tensors) scale_kernel(x, factor);
  return Tensor::full({}, norm, DType::f64);
}

void ema_kernel(Tensor& average, const Tensor& values, double decay, const Tensor& /*now*/) {
  with_real_type(average.dtype(), [&]<class T>() {
    T* out = average.mutable_data<T>();
    const T* in = values.data<T>();
    const EmaRule<T> rule;
    const auto now = EmaRule<T>::now(decay);
    parallel_ranges(average.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) rule(now, out[i], in[i]);
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& register_update(std::string_view name, std::string_view formula,
                              std::string_view source) {
  return register_op({.name = name, .formula = formula, .source = source, .differentiable = false});
}

const OpInfo& kSgd = register_update("sgd_step", "w -= rate m, m = momentum m + g",
                                     "Sutskever et al. 2013, in PyTorch's form");
const OpInfo& kAdam =
    register_update("adam_step", "w -= rate m / (sqrt(v) + eps), m and v corrected for their start",
                    "Kingma & Ba 2015; Loshchilov & Hutter 2019");
const OpInfo& kNorm = register_update("squared_norm", "y = sum(x^2)", "elementary");
const OpInfo& kClip = register_update("clip_norm", "x *= min(1, limit / (norm + 1e-6))",
                                      "Pascanu et al. 2013, in PyTorch's form");
const OpInfo& kScaleInPlace = register_update("scale_in_place", "x *= factor", "elementary");
const OpInfo& kFill = register_update("fill", "x = value", "elementary");
const OpInfo& kCopy = register_update("copy", "to = from", "elementary");
const OpInfo& kEma = register_update("ema_update", "average += (1 - decay) (values - average)",
                                     "Polyak & Juditsky 1992, exponentially weighted");

void expect_like(const OpInfo& op, const char* name, const Tensor& values, const Tensor& other) {
  expect_real(op, values);
  expect_real(op, other);
  check(values.shape() == other.shape() && values.dtype() == other.dtype(), op.name, ": expected ",
        name, " of ", values.dtype(), ' ', values.shape(), ", got ", other.dtype(), ' ',
        other.shape());
}

void expect_at_least_0(const OpInfo& op, const char* name, double value) {
  check(std::isfinite(value) && value >= 0, op.name, ": expected a ", name, " of at least 0, got ",
        value);
}

/// The share of an average that stays: at 1 nothing new would ever come in.
void expect_share(const OpInfo& op, const char* name, double value) {
  check(value >= 0 && value < 1, op.name, ": expected a ", name, " in [0, 1), got ", value);
}

}  // namespace

Tensor step_numbers(const SgdOptions& options, bool first_step) {
  const auto now = SgdRule<float>::now(options, first_step);
  return Tensor::of<float>({2}, {now.rate, now.kept});
}

Tensor step_numbers(const AdamOptions& options) {
  const auto now = AdamRule<float>::now(options);
  return Tensor::of<float>({3}, {now.rate, now.unbias, now.shrink});
}

Tensor step_numbers(double decay) {
  return Tensor::of<float>({1}, {EmaRule<float>::now(decay).share});
}

void sgd_step(Tensor values, const Tensor& gradients, Tensor momentum, const SgdOptions& options,
              bool first_step, const Tensor& now) {
  expect_like(kSgd, "gradients", values, gradients);
  expect_at_least_0(kSgd, "learning_rate", options.learning_rate);
  expect_at_least_0(kSgd, "weight_decay", options.weight_decay);
  expect_share(kSgd, "momentum", options.momentum);
  if (options.momentum != 0) expect_like(kSgd, "momentum", values, momentum);
  check(!options.nesterov || options.momentum > 0,
        "sgd_step: expected momentum above 0 for nesterov, got ", options.momentum);
  ON_DEVICE(values, sgd_kernel, values, gradients, momentum, options, first_step, now);
}

void adam_step(Tensor values, const Tensor& gradients, Tensor m, Tensor v,
               const AdamOptions& options, const Tensor& now) {
  expect_like(kAdam, "gradients", values, gradients);
  expect_like(kAdam, "m", values, m);
  expect_like(kAdam, "v", values, v);
  check(options.step >= 1, "adam_step: expected a step counted from 1, got ", options.step);
  expect_at_least_0(kAdam, "learning_rate", options.learning_rate);
  expect_at_least_0(kAdam, "weight_decay", options.weight_decay);
  expect_share(kAdam, "beta1", options.beta1);
  expect_share(kAdam, "beta2", options.beta2);
  expect_eps(kAdam, options.eps);
  ON_DEVICE(values, adam_kernel, values, gradients, m, v, options, now);
}

double squared_norm(const Tensor& x) {
  expect_real(kNorm, x);
  return ON_DEVICE(x, square_sum, std::span(&x, 1)).item();
}

Tensor clip_norm(std::span<const Tensor> tensors, double limit) {
  check(limit >= 0, "clip_norm: expected a limit of at least 0, got ", limit);
  check(!tensors.empty(), "clip_norm: expected tensors, got none");
  for (const Tensor& x : tensors) expect_real(kClip, x);
  return ON_DEVICE(tensors[0], clip_kernel, tensors, limit);
}

void scale_in_place(Tensor x, double factor) {
  expect_real(kScaleInPlace, x);
  ON_DEVICE(x, scale_kernel, x, factor);
}

void fill(Tensor x, double value) {
  expect_real(kFill, x);
  x.fill(value);
}

void copy(Tensor to, const Tensor& from) {
  expect_like(kCopy, "values", to, from);
  to.copy_from(from);
}

void ema_update(Tensor average, const Tensor& values, double decay, const Tensor& now) {
  expect_like(kEma, "values", average, values);
  check(decay >= 0 && decay <= 1, "ema_update: expected a decay in [0, 1], got ", decay);
  ON_DEVICE(average, ema_kernel, average, values, decay, now);
}

}  // namespace decant
