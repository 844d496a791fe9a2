#include "nn/losses.h"

#include <algorithm>

#include "engine/core/nearest_name.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/losses.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"
#include "engine/ops/softmax.h"

namespace decant::nn {
namespace {

constexpr double kDiceEps = 1e-7;  // SMP's: the least divisor

/// The labels' [N, H, W], checked against the logits.
Shape pixels(const Variable& logits, const Target& target) {
  const Shape& z = logits.shape();
  check(z.rank() == 4, "supervised_loss: expected logits [N, H, W, classes], got ", z);
  const Shape plain = {z[0], z[1], z[2]};
  const Shape& labels = target.labels.shape();
  check(labels == plain || labels == Shape({z[0], z[1], z[2], 1}), "supervised_loss: logits ", z,
        " and labels ", labels, " do not agree");
  check(target.has_mask.empty() || static_cast<int64_t>(target.has_mask.size()) == z[0],
        "supervised_loss: ", target.has_mask.size(), " entries of has_mask for logits ", z);
  return plain;
}

bool any_mask(const Target& target) {
  return target.has_mask.empty() || std::ranges::any_of(target.has_mask, [](bool m) { return m; });
}

/// 1 or 0 per image, repeated over `shape`, whose first axis counts images; undefined where all
/// count.
Tensor mask_of(const Target& target, const Shape& shape, DType dtype) {
  if (std::ranges::all_of(target.has_mask, [](bool m) { return m; })) return {};
  Tensor mask(shape, dtype);
  const int64_t images = shape[0];
  const Shape one = {mask.size() / images};
  for (int64_t i = 0; i < images; ++i)
    mask.view(i * one.size(), one).fill(target.has_mask[static_cast<size_t>(i)] ? 1 : 0);
  return mask;
}

Tensor one_hot(const Tensor& labels, const Shape& shape, DType dtype) {
  const Tensor indices = labels.to(DType::i64);
  Tensor result = Tensor::zeros(shape, dtype);
  const int64_t classes = shape[3];
  with_real_type(dtype, [&]<class T>() {
    const auto* index = indices.data<int64_t>();
    T* out = result.mutable_data<T>();
    for (int64_t i = 0; i < indices.size(); ++i) {
      check(index[i] >= 0 && index[i] < classes, "dice_loss: label ", index[i], " of ", classes,
            " classes");
      out[i * classes + index[i]] = T(1);
    }
  });
  return result;
}

/// max(x, low), of which x <= low gets no gradient.
Variable at_least(const Variable& x, double low) {
  return add_scalar(relu(add_scalar(x, -low)), low);
}

Tensor is_positive(const Tensor& x) {
  Tensor result(x.shape(), x.dtype());
  with_real_type(x.dtype(), [&]<class T>() {
    std::ranges::transform(x.values<T>(), result.mutable_data<T>(),
                           [](T value) { return value > T(0) ? T(1) : T(0); });
  });
  return result;
}

Variable nothing(const Variable& logits) {
  return Variable(Tensor::zeros({}, logits.dtype()));
}

}  // namespace

Variable ce_loss(const Variable& logits, const Target& target) {
  const Shape plain = pixels(logits, target);
  if (!any_mask(target)) return nothing(logits);
  if (logits.shape()[3] == 1)
    return bce_with_logits(logits, target.labels.to(logits.dtype()).reshape(logits.shape()),
                           mask_of(target, logits.shape(), logits.dtype()));
  return cross_entropy(logits, target.labels.to(DType::i64).reshape(plain), {},
                       mask_of(target, plain, logits.dtype()));
}

Variable dice_loss(const Variable& logits, const Target& target, double smooth) {
  pixels(logits, target);
  check(smooth >= 0, "dice_loss: expected a smooth of at least 0, got ", smooth);
  if (!any_mask(target)) return nothing(logits);
  const Shape& shape = logits.shape();
  const bool binary = shape[3] == 1;
  Variable p = binary ? sigmoid(logits) : softmax(logits, 3);
  Variable t(binary ? target.labels.to(logits.dtype()).reshape(shape)
                    : one_hot(target.labels, shape, logits.dtype()));
  if (const Tensor mask = mask_of(target, {shape[0], 1, 1, 1}, logits.dtype()); mask.defined()) {
    p = mul(p, Variable(mask));
    t = mul(t, Variable(mask));
  }
  const std::vector<int> batch_and_space = {0, 1, 2};
  const Variable targets = sum(t, batch_and_space);
  const Variable total = add(sum(p, batch_and_space), targets);
  const Variable intersection = scale(sub(total, sum(abs(sub(p, t)), batch_and_space)), 0.5);
  const Variable divisor = at_least(add_scalar(scale(total, 0.5), smooth), kDiceEps);
  Variable loss = add_scalar(scale(div(add_scalar(intersection, smooth), divisor), -1), 1);
  if (smooth == 0) loss = mul(loss, Variable(is_positive(targets.value())));
  return mean(loss);
}

Variable supervised_loss(const Variable& logits, const Target& target, const LossOptions& options) {
  if (options.name == "ce") return ce_loss(logits, target);
  if (options.name == "dice") return dice_loss(logits, target, options.dice_smooth);
  if (options.name == "ce_dice")
    return add(ce_loss(logits, target), dice_loss(logits, target, options.dice_smooth));
  throw Error(str("supervised_loss: there is no \"", options.name, "\"; did you mean \"",
                  nearest_name(options.name, loss_names()), "\"?"));
}

std::vector<std::string> loss_names() {
  return {"ce", "dice", "ce_dice"};
}

}  // namespace decant::nn
