#include "nn/losses.h"

#include <algorithm>
#include <cmath>

#include "engine/core/nearest_name.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/expect.h"
#include "engine/ops/losses.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape_ops.h"
#include "engine/ops/softmax.h"
#include "nn/segmentation_losses.h"

namespace decant::nn {
namespace {

constexpr double kDiceEps = 1e-7;  // SMP's: the least divisor

void expect_agreement(const Variable& logits, const Target& target) {
  const Shape& z = logits.shape();
  check(z.rank() == 4, "supervised_loss: expected logits [N, H, W, classes], got ", z);
  const Shape plain = {z[0], z[1], z[2]};
  const Shape column = {z[0], z[1], z[2], 1};
  const Shape& labels = target.labels.shape();
  check(labels == plain || labels == column, "supervised_loss: expected labels ", plain, " or ",
        column, " for logits ", z, ", got ", labels);
  check(target.has_mask.empty() || static_cast<int64_t>(target.has_mask.size()) == z[0],
        "supervised_loss: expected has_mask for ", z[0], " images, got ", target.has_mask.size());
}

/// The images that count, together with their labels, [N, H, W]: what stands in the others is never
/// looked at (0 times NaN would be NaN). No logits where none counts.
struct Counting {
  Variable logits;
  Tensor labels;

  Counting(const Variable& z, const Target& target) {
    expect_agreement(z, target);
    const Shape& s = z.shape();
    const std::vector<bool>& counts = target.has_mask;
    labels = target.labels.reshape({s[0], s[1], s[2]});
    if (std::ranges::all_of(counts, std::identity())) {
      logits = z;
      return;
    }
    const Shape image = {s[1], s[2]};
    std::vector<Variable> runs;  // of neighbours that count
    Tensor kept({std::ranges::count(counts, true), s[1], s[2]}, labels.dtype(), labels.device());
    int64_t images = 0;
    for (int64_t i = 0; i < s[0];) {
      int64_t end = i;
      for (; end < s[0] && counts[static_cast<size_t>(end)]; ++end)
        kept.view(images++ * image.size(), image).copy_from(labels.view(end * image.size(), image));
      if (end > i) runs.push_back(slice(z, 0, i, end));
      i = std::max(end, i + 1);
    }
    labels = kept;
    if (!runs.empty()) logits = concat(runs, 0);
  }
};

// On cuda, whose values nobody reads here: max(0, 1 - |label - k|) for each class k, with labels as
// float32. A label that is none has no class.
Tensor one_hot_on_device(const Tensor& labels, const Shape& shape) {
  const NoGrad no_grad;
  const Variable label(labels.reshape({shape[0], shape[1], shape[2], 1}));
  std::vector<Variable> classes;
  for (int64_t k = 0; k < shape[3]; ++k) {
    const Variable distance = abs(add_scalar(label, -static_cast<double>(k)));
    classes.push_back(relu(add_scalar(scale(distance, -1), 1)));
  }
  return concat(classes, 3).value();
}

Tensor one_hot(const Tensor& labels, const Shape& shape, DType dtype) {
  if (labels.device() == Device::cuda) return one_hot_on_device(labels, shape);
  const Tensor indices = labels.to(DType::i64);
  Tensor result = Tensor::zeros(shape, dtype);
  const int64_t classes = shape[3];
  with_real_type(dtype, [&]<class T>() {
    const auto* index = indices.data<int64_t>();
    T* out = result.mutable_data<T>();
    for (int64_t i = 0; i < indices.size(); ++i) {
      check(index[i] >= 0 && index[i] < classes, "dice_loss: expected labels from 0 to ",
            classes - 1, ", got ", index[i]);
      out[i * classes + index[i]] = T(1);
    }
  });
  return result;
}

/// max(x, low), of which x <= low gets no gradient.
Variable at_least(const Variable& x, double low) {
  return add_scalar(relu(add_scalar(x, -low)), low);
}

/// 1 where x > 0, 0 where x = 0.
Variable is_positive(const Variable& x) {
  constexpr double kTiny = 1e-30;
  return div(x, at_least(x, kTiny));
}

Variable nothing(const Variable& logits) {
  return Variable(Tensor::zeros({}, logits.dtype(), logits.value().device()));
}

// The categorical one as cross_entropy() has it, of float32 labels.
Variable ce_on_device(const Variable& logits, const Tensor& labels) {
  const Shape& shape = logits.shape();
  const Variable target(one_hot_on_device(labels, shape));
  const auto pixels = static_cast<double>(shape[0] * shape[1] * shape[2]);
  return scale(sum(mul(log_softmax(logits, 3), target)), -1 / pixels);
}

}  // namespace

Variable ce_loss(const Variable& all_logits, const Target& target) {
  const auto [logits, labels] = Counting(all_logits, target);
  if (!logits.defined()) return nothing(all_logits);
  if (logits.shape()[3] == 1) return bce_with_logits(logits, labels.reshape(logits.shape()));
  if (labels.device() == Device::cuda) return ce_on_device(logits, labels);
  return cross_entropy(logits, labels.to(DType::i64));
}

Variable dice_loss(const Variable& all_logits, const Target& target, double smooth) {
  check(std::isfinite(smooth) && smooth >= 0,
        "dice_loss: expected a finite smooth of at least 0, got ", smooth);
  const auto [logits, labels] = Counting(all_logits, target);
  if (!logits.defined()) return nothing(all_logits);
  const Shape& shape = logits.shape();
  const bool binary = shape[3] == 1;
  if (binary && labels.device() == Device::cpu) expect_probabilities("dice_loss", labels);
  const Variable p = binary ? sigmoid(logits) : softmax(logits, 3);
  const Variable t(binary ? labels.to(logits.dtype()).reshape(shape)
                          : one_hot(labels, shape, logits.dtype()));
  const std::vector<int> batch_and_space = {0, 1, 2};
  const Variable targets = sum(t, batch_and_space);
  const Variable total = add(sum(p, batch_and_space), targets);
  const Variable intersection = scale(sub(total, sum(abs(sub(p, t)), batch_and_space)), 0.5);
  const Variable divisor = at_least(add_scalar(scale(total, 0.5), smooth), kDiceEps);
  Variable loss = add_scalar(scale(div(add_scalar(intersection, smooth), divisor), -1), 1);
  if (smooth == 0) loss = mul(loss, is_positive(targets));
  return mean(loss);
}

namespace {

struct Term {
  std::string_view name;
  Variable (*loss)(const Variable& logits, const Target& target, const LossOptions& options);
  bool stays_on_device;
};

/// One of SMP's losses, of the images that count: f(logits, labels, mode).
template <class F>
Variable smp_loss(const Variable& all_logits, const Target& target, const F& f) {
  const auto [logits, labels] = Counting(all_logits, target);
  if (!logits.defined()) return nothing(all_logits);
  return f(logits, labels, logits.shape()[3] == 1 ? Mode::binary : Mode::multiclass);
}

/// The same of a loss whose options hold its mode.
template <class Options, Variable (*kLoss)(const Variable&, const Tensor&, const Options&)>
Variable loss_by_mode(const Variable& logits, const Target& target, const LossOptions&) {
  return smp_loss(logits, target, [](const Variable& z, const Tensor& labels, Mode mode) {
    Options options;
    options.mode = mode;
    return kLoss(z, labels, options);
  });
}

/// Of one that is made for one class, or for several, alone.
template <class Options, Variable (*kLoss)(const Variable&, const Tensor&, const Options&)>
Variable loss_of_mode(const Variable& logits, const Target& target, const LossOptions& options) {
  check_loss(options.name, logits.shape()[3]);
  return smp_loss(logits, target, [](const Variable& z, const Tensor& labels, Mode) {
    return kLoss(z, labels, Options{});
  });
}

constexpr Term kTerms[] = {
    {"ce", [](const Variable& z, const Target& t, const LossOptions&) { return ce_loss(z, t); },
     true},
    {"dice",
     [](const Variable& z, const Target& t, const LossOptions& options) {
       return dice_loss(z, t, options.dice_smooth);
     },
     true},
    {"jaccard", loss_by_mode<RegionOptions, jaccard_loss>, false},
    {"tversky", loss_by_mode<TverskyOptions, tversky_loss>, false},
    {"focal", loss_by_mode<FocalOptions, focal_loss>, false},
    {"soft_bce", loss_of_mode<SoftBceOptions, soft_bce_loss>, false},
    {"soft_ce", loss_of_mode<SoftCeOptions, soft_ce_loss>, false},
};

const Term& term_named(std::string_view name) {
  const auto* found = std::ranges::find(kTerms, name, &Term::name);
  if (found != std::end(kTerms)) return *found;
  std::string known;
  for (const std::string& candidate : loss_names())
    known += (known.empty() ? "" : ", ") + candidate;
  check(!name.empty(), "loss: expected one of ", known, ", or a sum of them; got an empty name");
  throw Error(str("loss: expected one of ", known, ", or a sum of them; got \"", name, '"',
                  did_you_mean(name, loss_names())));
}

}  // namespace

std::vector<std::string> loss_terms(std::string_view name) {
  std::vector<std::string> terms;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('+', begin), name.size());
    const std::string_view term = name.substr(begin, end - begin);
    if (term == "ce_dice")
      terms.insert(terms.end(), {"ce", "dice"});
    else
      terms.emplace_back(term_named(term).name);
    begin = end + 1;
  }
  return terms;
}

void check_loss(std::string_view name, int64_t classes) {
  for (const std::string& term : loss_terms(name))
    check(classes == 1 ? term != "soft_ce" : term != "soft_bce", "loss: expected ",
          classes == 1 ? "several classes for soft_ce" : "one class for soft_bce", " in \"", name,
          "\", got a network of ", classes);
}

bool stays_on_device(const LossOptions& options) {
  return std::ranges::all_of(loss_terms(options.name), [](const std::string& term) {
    return term_named(term).stays_on_device;
  });
}

Variable supervised_loss(const Variable& logits, const Target& target, const LossOptions& options) {
  Variable loss;
  for (const std::string& name : loss_terms(options.name)) {
    const Variable term = term_named(name).loss(logits, target, options);
    loss = loss.defined() ? add(loss, term) : term;
  }
  return loss;
}

std::vector<std::string> loss_names() {
  std::vector<std::string> names;
  for (const Term& term : kTerms) names.emplace_back(term.name);
  names.insert(names.begin() + 2, "ce_dice");
  return names;
}

}  // namespace decant::nn
