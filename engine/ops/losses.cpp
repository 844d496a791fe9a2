// Losses that are means over elements; losses over rows are in row_losses.cpp.
#include "engine/ops/losses.h"

#include <atomic>
#include <type_traits>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/cpu/level.h"
#include "engine/ops/loss_terms.h"
#include "engine/ops/reduce_kernels.h"

namespace decant {
using element_loss::BernoulliKl;
using element_loss::BinaryCrossEntropy;
using element_loss::SquaredError;

namespace cpu {
namespace {

// What the SIMD kernels compute: the cross-entropy of float32 logits that all count.
template <class Loss>
bool on_vectors(const Tensor& x, const Counted& counted) {
  return std::is_same_v<Loss, BinaryCrossEntropy<double>> && x.dtype() == DType::f32 &&
         counted.values() == nullptr;
}

template <class Loss>
Mean element_mean(const Loss& loss, const Tensor& x, const Tensor& target, const Counted& counted) {
  if (on_vectors<Loss>(x, counted)) {
    const auto* z = x.data<float>();
    const auto* y = target.data<float>();
    const double sum = ordered_sum(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      return kernels().bce_sum({.count = end - begin, .z = z + begin, .y = y + begin});
    });
    return mean_of(sum, counted.count, x.dtype());
  }
  const double sum = with_real_type(x.dtype(), [&]<class T>() {
    const T* a = x.data<T>();
    const T* b = target.data<T>();
    const uint8_t* m = counted.values();
    return ordered_sum(x.size(), kElementGrain, [&](int64_t begin, int64_t end) {
      double part = 0;
      for (int64_t i = begin; i < end; ++i)
        if (m == nullptr || m[i] != 0)
          part += loss.f(static_cast<double>(a[i]), static_cast<double>(b[i]));
      return part;
    });
  });
  return mean_of(sum, counted.count, x.dtype());
}

// dx = dy / divisor df, 0 where masked
template <class Loss>
void element_gradient(const Loss& loss, const Tensor& x, const Tensor& target,
                      const Counted& counted, const Tensor& dy, const Tensor& divisor, Tensor& dx) {
  const double factor = dy.item() / divisor.item();
  if (on_vectors<Loss>(x, counted)) {
    const auto* z = x.data<float>();
    const auto* y = target.data<float>();
    auto* dz = dx.mutable_data<float>();
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      kernels().bce_gradient({.count = end - begin,
                              .z = z + begin,
                              .y = y + begin,
                              .factor = static_cast<float>(factor),
                              .dz = dz + begin});
    });
    return;
  }
  with_real_type(x.dtype(), [&]<class T>() {
    const T* a = x.data<T>();
    const T* b = target.data<T>();
    const uint8_t* m = counted.values();
    T* out = dx.mutable_data<T>();
    parallel_ranges(x.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const bool counts = m == nullptr || m[i] != 0;
        const double d = loss.df(static_cast<double>(a[i]), static_cast<double>(b[i]));
        out[i] = counts ? static_cast<T>(factor * d) : T(0);
      }
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kBce = register_op({.name = "bce_with_logits",
                                  .formula = "L = mean(softplus(z) - z y)",
                                  .source = "Cox 1958, in the form that cannot overflow"});
const OpInfo& kBernoulli =
    register_op({.name = "kl_div_bernoulli",
                 .formula = "L = mean(T^2 (p (a - b) + softplus(b) - softplus(a)))",
                 .source = "Hinton et al. 2015, for two classes and one logit"});
const OpInfo& kMse =
    register_op({.name = "mse", .formula = "L = mean((a - b)^2)", .source = "Gauss 1809"});

template <class Loss>
Tensor gradient_of(const Loss& loss, const Saved& x, const Saved& target, const Counted& counted,
                   const Tensor& dy, const Tensor& divisor) {
  const Tensor value = x.get();
  Tensor dx(value.shape(), value.dtype(), value.device());
  ON_DEVICE(dx, element_gradient, loss, value, target.get(), counted, dy, divisor, dx);
  return dx;
}

// Whether expect_probabilities would find nothing: without a branch per element, and so in vectors.
bool are_probabilities(const Tensor& y) {
  if (y.dtype() != DType::f32) return false;
  const auto* values = y.data<float>();
  std::atomic<bool> found = false;
  parallel_ranges(y.size(), kElementGrain, [&](int64_t begin, int64_t end) {
    int outside = 0;
    for (int64_t i = begin; i < end; ++i)
      outside |= static_cast<int>(!(values[i] >= 0.0F && values[i] <= 1.0F));
    if (outside != 0) found = true;
  });
  return !found;
}

// Targets as the loss reads them: on the CPU of its type, on cuda as they are.
Tensor probabilities(const Tensor& y, const Counted& counted, DType dtype) {
  if (y.device() == Device::cuda) return y;
  if (!are_probabilities(y)) expect_probabilities(kBce.name, y, counted.values());
  return y.to(dtype);
}

}  // namespace

Variable bce_with_logits(const Variable& z, const Tensor& y, const Tensor& mask) {
  expect_real(kBce, z.value());
  expect_same_shape(kBce, "logits", z.shape(), "targets", y.shape());
  const Counted counts = counted(kBce, mask, z.shape());
  const Tensor target = probabilities(y, counts, z.dtype());
  const BinaryCrossEntropy<double> loss = {};
  const auto [value, divisor] = ON_DEVICE(z.value(), element_mean, loss, z.value(), target, counts);
  return record(kBce, value, {z},
                [loss, z = Saved(z), target = Saved(target), counts, n = divisor](const Tensor& dy,
                                                                                  const Wanted&) {
                  return std::vector<Tensor>{gradient_of(loss, z, target, counts, dy, n)};
                });
}

Variable kl_div_bernoulli(const Variable& teacher, const Variable& student,
                          const KlOptions& options, const Tensor& mask) {
  expect_real(kBernoulli, student.value());
  expect_same_type(kBernoulli, teacher.value(), student.value());
  expect_same_shape(kBernoulli, "teacher", teacher.shape(), "student", student.shape());
  expect_temperature(kBernoulli, options);
  const Counted counts = counted(kBernoulli, mask, student.shape());
  const BernoulliKl<double> loss = {options.temperature};
  const Tensor& x = student.value();
  const auto [value, divisor] = ON_DEVICE(x, element_mean, loss, x, teacher.value(), counts);
  return record(kBernoulli, options, value, {teacher.detach(), student},
                [loss, teacher = Saved(teacher), student = Saved(student), counts, n = divisor](
                    const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{{},
                                             gradient_of(loss, student, teacher, counts, dy, n)};
                });
}

Variable mse(const Variable& a, const Variable& b, const Tensor& mask) {
  expect_real(kMse, a.value());
  expect_same_type(kMse, a.value(), b.value());
  expect_same_shape(kMse, "a", a.shape(), "b", b.shape());
  const Counted counts = counted(kMse, mask, a.shape());
  const SquaredError<double> loss = {};
  const auto [value, divisor] =
      ON_DEVICE(a.value(), element_mean, loss, a.value(), b.value(), counts);
  return record(kMse, value, {a, b},
                [loss, a = Saved(a), b = Saved(b), counts, n = divisor](const Tensor& dy,
                                                                        const Wanted& wanted) {
                  std::vector<Tensor> grads(2);
                  if (wanted[0]) grads[0] = gradient_of(loss, a, b, counts, dy, n);
                  if (wanted[1]) grads[1] = gradient_of(loss, b, a, counts, dy, n);
                  return grads;
                });
}

}  // namespace decant
