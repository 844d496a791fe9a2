// Losses of which each row is a distribution: cross_entropy and kl_div_rows.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/loss_terms.h"
#include "engine/ops/losses.h"
#include "engine/ops/reduce_kernels.h"

namespace decant {
namespace {

// log softmax(x / T) of one row in float64; masked positions get -infinity, probability 0. False
// where the mask leaves no position. NaN, and a row of nothing but -infinity, show in every one.
template <class T>
bool log_softmax_row(const T* x, const uint8_t* mask, int64_t length, double temperature,
                     double* out) {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  const auto counts = [mask](int64_t i) { return mask == nullptr || mask[i] != 0; };
  bool any = false;
  double largest = kNothing;
  for (int64_t i = 0; i < length; ++i) {
    out[i] = counts(i) ? static_cast<double>(x[i]) / temperature : kNothing;
    any = any || counts(i);
    largest = std::max(largest, out[i]);
  }
  if (!any) return false;
  double sum = 0;
  for (int64_t i = 0; i < length; ++i)
    if (counts(i)) sum += std::exp(out[i] - largest);
  const double shift = largest + std::log(sum);
  for (int64_t i = 0; i < length; ++i)
    if (counts(i)) out[i] -= shift;
  return true;
}

// The rows of which at least one position counts.
int64_t rows_that_count(const uint8_t* mask, int64_t rows, int64_t length) {
  if (mask == nullptr) return rows;
  int64_t count = 0;
  for (int64_t r = 0; r < rows; ++r)
    if (std::any_of(mask + r * length, mask + (r + 1) * length, [](uint8_t v) { return v != 0; }))
      ++count;
  return count;
}

// Rows in one chunk of work.
int64_t row_grain(int64_t length) {
  return std::max<int64_t>(1, kElementGrain / 4 / length);
}

}  // namespace

namespace cpu {
namespace {

// Calls f(r, log P, log Q) for each row r in [begin, end) that is not masked altogether, and
// masked_out(r) for the others.
template <class T, class F, class G>
void for_distributions(const T* teacher, const T* student, const uint8_t* mask, int64_t length,
                       double temperature, int64_t begin, int64_t end, F&& f, G&& masked_out) {
  std::vector<double> buffer(static_cast<size_t>(2 * length));
  double* log_p = buffer.data();
  double* log_q = log_p + length;
  for (int64_t r = begin; r < end; ++r) {
    const uint8_t* row_mask = mask == nullptr ? nullptr : mask + r * length;
    if (log_softmax_row(teacher + r * length, row_mask, length, temperature, log_p) &&
        log_softmax_row(student + r * length, row_mask, length, temperature, log_q))
      f(r, log_p, log_q);
    else
      masked_out(r);
  }
}

Mean kl_rows_mean(const Tensor& teacher, const Tensor& student, const Counted& counted,
                  double temperature) {
  const int64_t length = teacher.shape()[1];
  const double sum = with_real_type(student.dtype(), [&]<class T>() {
    return ordered_sum(teacher.shape()[0], row_grain(length), [&](int64_t begin, int64_t end) {
      double part = 0;
      for_distributions(
          teacher.data<T>(), student.data<T>(), counted.values(), length, temperature, begin, end,
          [&](int64_t, const double* log_p, const double* log_q) {
            for (int64_t i = 0; i < length; ++i) {
              const double p = std::exp(log_p[i]);
              if (p != 0) part += p * (log_p[i] - log_q[i]);  // p log p -> 0
            }
          },
          [](int64_t) {});
      return part;
    });
  });
  const int64_t rows = rows_that_count(counted.values(), teacher.shape()[0], length);
  return mean_of(temperature * temperature * sum, rows, student.dtype());
}

// dx = T dy / divisor (Q - P), 0 where masked
void kl_rows_gradient(const Tensor& teacher, const Tensor& student, const Counted& counted,
                      double temperature, const Tensor& dy, const Tensor& divisor, Tensor& dx) {
  const int64_t length = teacher.shape()[1];
  const double factor = dy.item() * temperature / divisor.item();
  with_real_type(student.dtype(), [&]<class T>() {
    T* out = dx.mutable_data<T>();
    parallel_ranges(teacher.shape()[0], row_grain(length), [&, out](int64_t begin, int64_t end) {
      for_distributions(
          teacher.data<T>(), student.data<T>(), counted.values(), length, temperature, begin, end,
          [&](int64_t r, const double* log_p, const double* log_q) {
            for (int64_t i = 0; i < length; ++i)
              out[r * length + i] =
                  static_cast<T>(factor * (std::exp(log_q[i]) - std::exp(log_p[i])));
          },
          [&](int64_t r) { std::fill_n(out + r * length, length, T(0)); });
    });
  });
}

// The class of each sample, -1 where it does not count.
Tensor kept_labels(const Tensor& labels, const Counted& samples, int64_t ignore_index,
                   int64_t classes) {
  Tensor kept = labels.to(DType::i64).clone();
  auto* label = kept.mutable_data<int64_t>();
  const uint8_t* counts = samples.values();
  for (int64_t i = 0; i < kept.size(); ++i) {
    if (label[i] == ignore_index || (counts != nullptr && counts[i] == 0))
      label[i] = -1;
    else
      check(label[i] >= 0 && label[i] < classes, "cross_entropy: expected labels from 0 to ",
            classes - 1, ", got ", label[i], " at element ", i, " of ", labels.shape());
  }
  return kept;
}

Mean cross_entropy_mean(const Tensor& logits, const Tensor& labels) {
  const int64_t classes = logits.shape()[-1];
  const auto* label = labels.data<int64_t>();
  const auto count =
      std::count_if(label, label + labels.size(), [](int64_t kept) { return kept >= 0; });
  check(count > 0, "cross_entropy: expected samples to average, got labels ", labels.shape(),
        " of which none counts");
  const double sum = with_real_type(logits.dtype(), [&]<class T>() {
    const T* x = logits.data<T>();
    return ordered_sum(labels.size(), row_grain(classes), [&](int64_t begin, int64_t end) {
      std::vector<double> log_p(static_cast<size_t>(classes));
      double part = 0;
      for (int64_t r = begin; r < end; ++r) {
        if (label[r] < 0) continue;
        log_softmax_row(x + r * classes, nullptr, classes, 1, log_p.data());
        part -= log_p[static_cast<size_t>(label[r])];
      }
      return part;
    });
  });
  return mean_of(sum, count, logits.dtype());
}

// dx = dy / divisor (p - onehot(label))
void cross_entropy_gradient(const Tensor& logits, const Tensor& labels, const Tensor& dy,
                            const Tensor& divisor, Tensor& dx) {
  const int64_t classes = logits.shape()[-1];
  const double factor = dy.item() / divisor.item();
  const auto* label = labels.data<int64_t>();
  with_real_type(logits.dtype(), [&]<class T>() {
    const T* x = logits.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(labels.size(), row_grain(classes), [&, out](int64_t begin, int64_t end) {
      std::vector<double> log_p(static_cast<size_t>(classes));
      for (int64_t r = begin; r < end; ++r) {
        T* d = out + r * classes;
        if (label[r] < 0) {
          std::fill_n(d, classes, T(0));
          continue;
        }
        log_softmax_row(x + r * classes, nullptr, classes, 1, log_p.data());
        for (int64_t k = 0; k < classes; ++k) {
          const double p = std::exp(log_p[static_cast<size_t>(k)]);
          d[k] = static_cast<T>(factor * (k == label[r] ? p - 1 : p));
        }
      }
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kCrossEntropy = register_op({.name = "cross_entropy",
                                           .formula = "L = mean(-log softmax(x)[label])",
                                           .source = "Bridle 1990"});
const OpInfo& kKlRows = register_op({.name = "kl_div_rows",
                                     .formula = "L = mean over rows of T^2 sum(P log(P / Q))",
                                     .source = "Hinton et al. 2015; Shu et al. 2021"});

}  // namespace

Variable kl_div_rows(const Variable& teacher, const Variable& student, const KlOptions& options,
                     const Tensor& mask) {
  expect_real(kKlRows, student.value());
  expect_same_type(kKlRows, teacher.value(), student.value());
  expect_same_shape(kKlRows, "teacher", teacher.shape(), "student", student.shape());
  expect_temperature(kKlRows, options);
  const Shape& shape = student.shape();
  check(shape.rank() == 2, "kl_div_rows: expected rows [R, M], got teacher ", teacher.shape(),
        " and student ", shape);
  check(shape[1] > 1, "kl_div_rows: expected rows of at least two positions, got ", shape,
        ", where the softmax of one position is 1 whatever the logits are; for heads with one "
        "logit use kl_div_bernoulli");
  const Counted counts = counted(kKlRows, mask, shape);

  const double t = options.temperature;
  const auto [value, divisor] =
      ON_DEVICE(student.value(), kl_rows_mean, teacher.value(), student.value(), counts, t);
  return record(kKlRows, options, value, {teacher.detach(), student},
                [teacher = Saved(teacher), student = Saved(student), counts, t, n = divisor](
                    const Tensor& dy, const Wanted&) {
                  const Tensor logits = student.get();
                  Tensor dx(logits.shape(), dy.dtype(), dy.device());
                  ON_DEVICE(dy, kl_rows_gradient, teacher.get(), logits, counts, t, dy, n, dx);
                  return std::vector<Tensor>{{}, dx};
                });
}

Variable cross_entropy(const Variable& logits, const Tensor& labels,
                       const CrossEntropyOptions& options, const Tensor& mask) {
  const Tensor& x = logits.value();
  expect_real(kCrossEntropy, x);
  check(labels.defined() && (labels.dtype() == DType::u8 || labels.dtype() == DType::i32 ||
                             labels.dtype() == DType::i64),
        "cross_entropy: expected uint8, int32 or int64 labels, got ",
        labels.defined() ? name_of(labels.dtype()) : "none");
  check(x.shape().rank() >= 1 && labels.shape() == Shape(x.shape().extents().first(
                                                       static_cast<size_t>(x.shape().rank() - 1))),
        "cross_entropy: expected logits [.., K] and labels [..], got logits ", x.shape(),
        " and labels ", labels.shape());
  const int64_t classes = x.shape()[-1];
  check(classes > 1, "cross_entropy: expected at least two classes, got logits ", x.shape(),
        "; for heads with one logit use bce_with_logits");
  check(!mask.defined() || mask.shape() == labels.shape(), "cross_entropy: expected a mask of ",
        labels.shape(), ", got ", mask.shape());
  const Counted samples = counted(kCrossEntropy, mask, labels.shape());

  const Tensor kept = ON_DEVICE(x, kept_labels, labels, samples, options.ignore_index, classes);
  const auto [value, divisor] = ON_DEVICE(x, cross_entropy_mean, x, kept);
  return record(kCrossEntropy, options, value, {logits},
                [x = Saved(x), kept, n = divisor](const Tensor& dy, const Wanted&) {
                  const Tensor kept_logits = x.get();
                  Tensor dx(kept_logits.shape(), dy.dtype(), dy.device());
                  ON_DEVICE(dy, cross_entropy_gradient, kept_logits, kept, dy, n, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace decant
