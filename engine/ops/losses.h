#pragma once

#include "engine/autograd/variable.h"

namespace decant {

// Losses: each returns a scalar of shape [].
//
// Targets and masks are plain Tensors, since no gradient flows into them; of any type, and
// converted. A mask holds 1 where an element counts and 0 where it does not, never anything else;
// undefined means that all count. An element that does not count leaves the sum *and* the divisor.
// All losses throw Error where shapes disagree (both are named) and where nothing counts: a mean
// over no elements has no value. Only the mask decides what counts: NaN among logits that do, or a
// row of them that is nothing but -infinity, is NaN in the loss.
// On cuda nothing waits to look at masks, labels and targets. What would be an Error for one of
// their values is NaN in the loss and in its gradient there; where nothing counts both are 0.

/// Mean binary cross-entropy of logits, in the form that cannot overflow.
///   z [..], y [..] in [0, 1], mask [..] or with 1 for its last extent -> mean(softplus(z) - z y)
///   dz = (sigmoid(z) - y) / count
/// Throws Error for a target that counts and is no probability (a mask of 0 and 255, say).
/// Source: Cox 1958, logistic regression. Papers that print CE = -mean(y log p) mean this or the
/// categorical form: without the second term, lesion everywhere is optimal.
Variable bce_with_logits(const Variable& z, const Tensor& y, const Tensor& mask = {});

struct CrossEntropyOptions {
  int64_t ignore_index = -100;  ///< samples with this label do not count

  void visit(auto&& v) const { v("ignore_index", ignore_index); }
};

/// Mean categorical cross-entropy.
///   logits [.., K], whole labels [..] in {0, .., K - 1}, mask [..] -> mean(-log p[label])
///   p = softmax(logits) over the last axis
/// Throws Error for K = 1 (see softmax) and for a label outside of the classes.
Variable cross_entropy(const Variable& logits, const Tensor& labels,
                       const CrossEntropyOptions& options = {}, const Tensor& mask = {});

struct KlOptions {
  double temperature = 1;

  void visit(auto&& v) const { v("temperature", temperature); }
};

/// Kullback-Leibler divergence from the teacher's to the student's distribution, one per row.
///   teacher [R, M], student [R, M], mask [R, M] -> mean over rows of T^2 sum_m P log(P / Q)
///   P = softmax(teacher / T), Q = softmax(student / T) over the row
///   d student = T (Q - P) / rows;  no gradient flows into the teacher, wherever it comes from
/// T^2 keeps the gradient's size as T grows. Masked positions leave both softmaxes; a row with
/// nothing left leaves the mean.
/// Throws Error for M = 1, where P = Q = 1 whatever the logits are: use kl_div_bernoulli.
/// Source: Hinton et al. 2015, "Distilling the knowledge in a neural network"; rows of positions
/// instead of classes: Shu et al. 2021, "Channel-wise knowledge distillation".
Variable kl_div_rows(const Variable& teacher, const Variable& student,
                     const KlOptions& options = {}, const Tensor& mask = {});

/// The same for heads with one logit, where each element is a distribution over (no, yes).
///   teacher [..], student [..], mask [..] or with 1 for its last extent
///   -> mean of T^2 (p (a - b) + softplus(b) - softplus(a)), a = teacher / T, b = student / T,
///      p = sigmoid(a);  d student = T (sigmoid(b) - p) / count
Variable kl_div_bernoulli(const Variable& teacher, const Variable& student,
                          const KlOptions& options = {}, const Tensor& mask = {});

/// Mean squared error, with gradients to both sides.
///   a [..], b [..], mask [..] or with 1 for its last extent -> mean((a - b)^2)
Variable mse(const Variable& a, const Variable& b, const Tensor& mask = {});

}  // namespace decant
