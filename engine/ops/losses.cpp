// Losses that are means over elements; losses over rows are in row_losses.cpp.
#include "engine/ops/losses.h"

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/loss_terms.h"
#include "engine/ops/reduce_kernels.h"

namespace decant {
namespace {

// f(x, target) of one element, df its derivative in x.
struct BinaryCrossEntropy {
  double f(double z, double y) const { return softplus_of(z) - z * y; }
  double df(double z, double y) const { return sigmoid_of(z) - y; }
};

struct BernoulliKl {
  double temperature;
  double f(double student, double teacher) const {
    const double a = teacher / temperature;
    const double b = student / temperature;
    const double p = sigmoid_of(a);
    return temperature * temperature * (p * (a - b) + softplus_of(b) - softplus_of(a));
  }
  double df(double student, double teacher) const {
    return temperature * (sigmoid_of(student / temperature) - sigmoid_of(teacher / temperature));
  }
};

struct SquaredError {
  double f(double a, double b) const { return (a - b) * (a - b); }
  double df(double a, double b) const { return 2 * (a - b); }
};

}  // namespace

namespace cpu {
namespace {

template <class Loss>
double element_sum(const Loss& loss, const Tensor& x, const Tensor& target, const Counted& mask) {
  return with_real_type(x.dtype(), [&]<class T>() {
    const T* a = x.data<T>();
    const T* b = target.data<T>();
    const uint8_t* m = mask.values();
    return ordered_sum(x.size(), kElementGrain, [&](int64_t begin, int64_t end) {
      double sum = 0;
      for (int64_t i = begin; i < end; ++i)
        if (m == nullptr || m[i] != 0)
          sum += loss.f(static_cast<double>(a[i]), static_cast<double>(b[i]));
      return sum;
    });
  });
}

// dx = factor df, 0 where masked
template <class Loss>
void element_gradient(const Loss& loss, const Tensor& x, const Tensor& target, const Counted& mask,
                      double factor, Tensor& dx) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* a = x.data<T>();
    const T* b = target.data<T>();
    const uint8_t* m = mask.values();
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
Tensor mean_of(const Loss& loss, const Tensor& x, const Tensor& target, const Counted& mask) {
  const double sum = ON_DEVICE(x, element_sum, loss, x, target, mask);
  return scalar(sum / static_cast<double>(mask.count), x.dtype());
}

template <class Loss>
Tensor gradient_of(const Loss& loss, const Tensor& x, const Tensor& target, const Counted& mask,
                   const Tensor& dy) {
  Tensor dx(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, element_gradient, loss, x, target, mask, dy.item() / static_cast<double>(mask.count),
            dx);
  return dx;
}

}  // namespace

Variable bce_with_logits(const Variable& z, const Tensor& y, const Tensor& mask) {
  expect_real(kBce, z.value());
  expect_same_shape(kBce, "logits", z.shape(), "targets", y.shape());
  const Counted counts = counted(kBce, mask, z.shape());
  expect_probabilities(kBce.name, y, counts.values());
  const Tensor target = y.to(z.dtype());
  return record(kBce, mean_of(BinaryCrossEntropy{}, z.value(), target, counts), {z},
                [z = Saved(z), target = Saved(target), counts](const Tensor& dy, const Wanted&) {
                  return std::vector<Tensor>{
                      gradient_of(BinaryCrossEntropy{}, z.get(), target.get(), counts, dy)};
                });
}

Variable kl_div_bernoulli(const Variable& teacher, const Variable& student,
                          const KlOptions& options, const Tensor& mask) {
  expect_same_type(kBernoulli, teacher.value(), student.value());
  expect_same_shape(kBernoulli, "teacher", teacher.shape(), "student", student.shape());
  expect_temperature(kBernoulli, options);
  const Counted counts = counted(kBernoulli, mask, student.shape());
  const BernoulliKl loss = {options.temperature};
  return record(kBernoulli, options, mean_of(loss, student.value(), teacher.value(), counts),
                {teacher.detach(), student},
                [loss, teacher = Saved(teacher), student = Saved(student), counts](const Tensor& dy,
                                                                                   const Wanted&) {
                  return std::vector<Tensor>{
                      {}, gradient_of(loss, student.get(), teacher.get(), counts, dy)};
                });
}

Variable mse(const Variable& a, const Variable& b, const Tensor& mask) {
  expect_same_type(kMse, a.value(), b.value());
  expect_same_shape(kMse, "a", a.shape(), "b", b.shape());
  const Counted counts = counted(kMse, mask, a.shape());
  return record(kMse, mean_of(SquaredError{}, a.value(), b.value(), counts), {a, b},
                [a = Saved(a), b = Saved(b), counts](const Tensor& dy, const Wanted& wanted) {
                  std::vector<Tensor> grads(2);
                  if (wanted[0])
                    grads[0] = gradient_of(SquaredError{}, a.get(), b.get(), counts, dy);
                  if (wanted[1])
                    grads[1] = gradient_of(SquaredError{}, b.get(), a.get(), counts, dy);
                  return grads;
                });
}

}  // namespace decant
