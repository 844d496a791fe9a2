#include "nn/segmentation_losses.h"

#include <cmath>
#include <vector>

#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape_ops.h"
#include "engine/ops/softmax.h"

namespace decant::nn {
namespace {

constexpr double kTiny = 1e-30;

/// max(x, low), of which x <= low gets no gradient.
Variable at_least(const Variable& x, double low) {
  return add_scalar(relu(add_scalar(x, -low)), low);
}
Variable one_minus(const Variable& x) {
  return add_scalar(scale(x, -1), 1);
}
/// x^e of x >= 0.
Variable power(const Variable& x, double e) {
  if (e == 1) return x;
  return e == 2 ? square(x) : exp(scale(log(at_least(x, kTiny)), e));
}

/// Another number in place of each of a target's, where those are. Nothing learns there.
template <class F>
Tensor mapped(const Tensor& target, DType dtype, const F& f) {
  Tensor result(target.shape(), dtype);
  const Tensor source = target.to(Device::cpu).to(DType::f64);
  with_real_type(dtype, [&]<class T>() {
    T* out = result.mutable_data<T>();
    for (int64_t i = 0; i < source.size(); ++i)
      out[i] = static_cast<T>(f(source.data<double>()[i]));
  });
  return result.to(target.device());
}

/// Targets of all classes, [N, H, W, C] or with an extent of 1 that stands for all of them; 0 where
/// an element does not count. `counts`: 1 where it does; undefined where all do.
struct Truth {
  Variable y;
  Variable counts;

  Truth(const char* op, const Variable& logits, const Tensor& target, Mode mode,
        std::optional<double> ignored) {
    const Shape& z = logits.shape();
    check(z.rank() == 4, op, ": expected logits [N, H, W, C], got ", z);
    check(mode != Mode::binary || z[3] == 1, op, ": expected logits of one class in binary mode, ",
          "got ", z);
    check(mode != Mode::multiclass || z[3] > 1, op,
          ": expected logits of several classes in multiclass mode, got ", z);
    const Shape one = {z[0], z[1], z[2], 1};
    const Shape expected = mode == Mode::multilabel ? z : one;
    const Shape plain = {z[0], z[1], z[2]};
    check(target.shape() == expected || (expected == one && target.shape() == plain), op,
          ": expected targets ", expected, " for logits ", z, ", got ", target.shape());
    const Tensor labels = target.reshape(expected);
    if (ignored)
      counts = Variable(mapped(labels, logits.dtype(),
                               [&](double label) { return label == *ignored ? 0.0 : 1.0; }));
    y = mode == Mode::multiclass ? one_hot(op, labels, z, logits.dtype(), ignored)
                                 : probabilities(op, labels, logits.dtype(), ignored);
  }

  /// x, and 0 where an element does not count.
  Variable counted(const Variable& x) const { return counts.defined() ? mul(x, counts) : x; }

 private:
  static Variable probabilities(const char* op, const Tensor& labels, DType dtype,
                                std::optional<double> ignored) {
    return Variable(mapped(labels, dtype, [&](double y) {
      if (ignored && y == *ignored) return 0.0;
      check(y >= 0 && y <= 1, op, ": expected targets of 0 .. 1, got ", y);
      return y;
    }));
  }

  static Variable one_hot(const char* op, const Tensor& labels, const Shape& shape, DType dtype,
                          std::optional<double> ignored) {
    std::vector<Variable> classes;
    for (int64_t k = 0; k < shape[3]; ++k)
      classes.emplace_back(mapped(labels, dtype, [&](double y) {
        if (ignored && y == *ignored) return 0.0;
        check(y >= 0 && y < static_cast<double>(shape[3]) && y == std::floor(y), op,
              ": expected targets of 0 .. ", shape[3] - 1, ", got ", y);
        return y == static_cast<double>(k) ? 1.0 : 0.0;
      }));
    return concat(classes, 3);
  }
};

/// True and false positives and false negatives of each class, [C], in soft counts.
struct SoftCounts {
  Variable both, over, under, targets;

  SoftCounts(const char* op, const Variable& logits, const Tensor& target,
             const RegionOptions& options) {
    check(std::isfinite(options.smooth) && options.smooth >= 0, op,
          ": expected a finite smooth of at least 0, got ", options.smooth);
    check(options.eps > 0, op, ": expected eps above 0, got ", options.eps);
    const Truth truth(op, logits, target, options.mode, options.ignore_index);
    const bool exclusive = options.mode == Mode::multiclass;
    const Variable p = truth.counted(exclusive ? softmax(logits, 3) : sigmoid(logits));
    const std::vector<int> batch_and_space = {0, 1, 2};
    const Variable answers = sum(p, batch_and_space);
    targets = sum(truth.y, batch_and_space);
    const Variable apart = sum(abs(sub(p, truth.y)), batch_and_space);
    both = scale(sub(add(answers, targets), apart), 0.5);
    over = sub(answers, both);
    under = sub(targets, both);
  }

  /// One loss per class, 0 for a class without a target.
  Variable loss(const TverskyOptions& o) const {
    const Variable wrong = add(scale(over, o.alpha), scale(under, o.beta));
    const Variable divisor = at_least(add_scalar(add(both, wrong), o.smooth), o.eps);
    const Variable score = div(add_scalar(both, o.smooth), divisor);
    const Variable per_class =
        o.log_loss ? scale(log(at_least(score, o.eps)), -1) : one_minus(score);
    return mul(per_class, div(targets, at_least(targets, kTiny)));
  }
};

TverskyOptions tversky_of(const RegionOptions& options, double weight) {
  TverskyOptions result;
  static_cast<RegionOptions&>(result) = options;
  result.alpha = result.beta = weight;
  return result;
}

/// MONAI's and nnU-Net's, of the ordinary intersection.
Variable plain_dice(const Variable& logits, const Tensor& target, const RegionOptions& options,
                    bool is_monai) {
  constexpr double kSmooth = 1e-5;
  constexpr double kLeast = 1e-8;
  check(!options.log_loss, "soft_dice_loss: expected no log_loss beside monai and nnunet");
  const Truth truth("soft_dice_loss", logits, target, options.mode, options.ignore_index);
  const int64_t classes = logits.shape()[3];
  Variable p = options.mode == Mode::multiclass ? softmax(logits, 3) : sigmoid(logits);
  p = truth.counted(p);
  Variable y = truth.y;
  if (!is_monai && options.mode == Mode::multiclass && classes > 1) {
    p = slice(p, 3, 1, classes);
    y = slice(y, 3, 1, classes);
  }
  const std::vector<int> axes = is_monai ? std::vector<int>{1, 2} : std::vector<int>{0, 1, 2};
  const Variable twice = add_scalar(scale(sum(mul(p, y), axes), 2), kSmooth);
  const Variable total = add_scalar(add(sum(p, axes), sum(y, axes)), kSmooth);
  const Variable score = mean(div(twice, at_least(total, kLeast)));
  return is_monai ? one_minus(score) : scale(score, -1);
}

/// -(y log p + (1 - y) log(1 - p)) of every element, in the form that cannot overflow; the first
/// term weighs `positive`.
Variable bce(const Variable& logits, const Variable& y, double positive = 1) {
  const Variable z = add_scalar(logits, 0);  // its two gradients are added before they go on
  if (positive == 1) return sub(softplus(z), mul(z, y));
  return add(scale(mul(y, softplus(scale(z, -1))), positive), mul(one_minus(y), softplus(z)));
}

Variable reduced(const Variable& x, Reduction reduction) {
  return reduction == Reduction::mean ? mean(x) : sum(x);
}

}  // namespace

Variable soft_dice_loss(const Variable& logits, const Tensor& target, const RegionOptions& options,
                        Convention convention) {
  if (convention != Convention::smp)
    return plain_dice(logits, target, options, convention == Convention::monai);
  return mean(SoftCounts("soft_dice_loss", logits, target, options).loss(tversky_of(options, 0.5)));
}

Variable jaccard_loss(const Variable& logits, const Tensor& target, const RegionOptions& options) {
  return mean(SoftCounts("jaccard_loss", logits, target, options).loss(tversky_of(options, 1)));
}

Variable tversky_loss(const Variable& logits, const Tensor& target, const TverskyOptions& options) {
  check(options.alpha >= 0 && options.beta >= 0 && options.gamma > 0,
        "tversky_loss: expected alpha and beta of at least 0 and gamma above 0, got ",
        options.alpha, ", ", options.beta, " and ", options.gamma);
  return power(mean(SoftCounts("tversky_loss", logits, target, options).loss(options)),
               options.gamma);
}

Variable focal_loss(const Variable& logits, const Tensor& target, const FocalOptions& options) {
  check(options.gamma >= 0, "focal_loss: expected gamma of at least 0, got ", options.gamma);
  check(!options.alpha || (*options.alpha >= 0 && *options.alpha <= 1),
        "focal_loss: expected alpha in 0 .. 1, got ", options.alpha.value_or(0));
  check(options.reduced_threshold.value_or(1) > 0,
        "focal_loss: expected reduced_threshold above 0, got ",
        options.reduced_threshold.value_or(0));
  const Truth truth("focal_loss", logits, target, options.mode, options.ignore_index);
  const Variable loss = bce(logits, truth.y);
  Variable doubt = one_minus(exp(scale(loss, -1)));
  if (options.reduced_threshold) {
    // What is harder than the threshold has the factor 1, and no gradient through it.
    const double r = *options.reduced_threshold;
    const Tensor hard =
        mapped(doubt.value(), logits.dtype(), [&](double q) { return 1 - q < r ? 1.0 : 0.0; });
    const Variable easy = mul(scale(doubt, 1 / r), one_minus(Variable(hard)));
    doubt = add(easy, Variable(hard));
  }
  const Variable factor = truth.counted(options.gamma == 0 ? add_scalar(scale(doubt, 0), 1)
                                                           : power(doubt, options.gamma));
  Variable focal = mul(factor, loss);
  if (options.alpha) {
    const double a = *options.alpha;
    focal = mul(focal, add_scalar(scale(truth.y, 2 * a - 1), 1 - a));
  }
  Variable total = sum(focal);
  if (options.normalized) total = div(total, at_least(sum(factor), 1e-6));
  if (options.reduction == Reduction::sum) return total;
  const double all = static_cast<double>(logits.shape().size());
  if (!truth.counts.defined()) return scale(total, 1 / all);
  const double each = options.mode == Mode::multilabel ? 1 : static_cast<double>(logits.shape()[3]);
  return scale(div(total, at_least(sum(truth.counts), 1)), 1 / each);
}

Variable soft_bce_loss(const Variable& logits, const Tensor& target,
                       const SoftBceOptions& options) {
  const double s = options.smooth_factor;
  check(s >= 0 && s <= 1, "soft_bce_loss: expected smooth_factor in 0 .. 1, got ", s);
  const Mode mode = logits.shape()[-1] == 1 ? Mode::binary : Mode::multilabel;
  const Truth truth("soft_bce_loss", logits, target, mode, options.ignore_index);
  const Variable y = s == 0 ? truth.y : add_scalar(scale(truth.y, 1 - 2 * s), s);
  return reduced(truth.counted(bce(logits, y, options.pos_weight)), options.reduction);
}

Variable soft_ce_loss(const Variable& logits, const Tensor& target, const SoftCeOptions& options) {
  const double s = options.smooth_factor;
  check(s >= 0 && s <= 1, "soft_ce_loss: expected smooth_factor in 0 .. 1, got ", s);
  const Truth truth("soft_ce_loss", logits, target, Mode::multiclass, options.ignore_index);
  const auto classes = static_cast<double>(logits.shape()[3]);
  const Variable log_p = log_softmax(logits, 3);
  const Variable weights = truth.counted(add_scalar(scale(truth.y, 1 - s), s / classes));
  const Variable total = scale(sum(mul(log_p, weights)), -1);
  const double pixels = static_cast<double>(logits.shape().size()) / classes;
  return options.reduction == Reduction::sum ? total : scale(total, 1 / pixels);
}

}  // namespace decant::nn
