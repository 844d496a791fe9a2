// The losses of segmentation_losses.h as rows of the gradient checker.
#include <functional>

#include "engine/check/op_row.h"
#include "nn/segmentation_losses.h"

namespace decant::nn {
namespace {

using Inputs = std::vector<Variable>;
using Loss = std::function<Variable(const Variable& logits, const Tensor& target)>;

constexpr double kIgnored = 255;
constexpr int64_t kClasses = 3;

/// Whole numbers 0 .. n - 1, or 0 and 1; every fifth one kIgnored where asked for.
Tensor labels(Shape shape, int64_t n, bool ignore = false) {
  Tensor result(shape, DType::f64);
  for (int64_t i = 0; i < result.size(); ++i)
    result.mutable_data<double>()[i] =
        ignore && i % 5 == 0 ? kIgnored : static_cast<double>(i * 7 % 5 % n);
  return result;
}

OpRow row(const char* op, const char* variant, const Shape& logits, Tensor target, Loss loss) {
  const auto elements = static_cast<double>(logits.size());
  return {.op = op,
          .variant = variant,
          .inputs = {randn(logits, 1), std::move(target)},
          .call = [loss = std::move(loss)](const Inputs& x) { return loss(x[0], x[1].value()); },
          .products = elements,
          .gradient_products = {elements, 1},
          .kappa = 4,
          .constants = {1}};
}

/// Of a family whose options have mode and ignore_index: binary soft, multiclass, multilabel, and
/// what does not count.
template <class Options, class F>
void add_modes(std::vector<OpRow>& table, const char* op, const Options& base, const F& loss) {
  const Shape one = {2, 3, 4, 1};
  const Shape all = {2, 3, 4, kClasses};
  const auto with = [&](Mode mode, bool ignore = false) {
    Options options = base;
    options.mode = mode;
    if (ignore) options.ignore_index = kIgnored;
    return [=](const Variable& z, const Tensor& y) { return loss(z, y, options); };
  };
  table.push_back(row(op, "binary, soft targets", one, uniform(one, 0, 1, 3), with(Mode::binary)));
  table.push_back(row(op, "multiclass", all, labels(one, kClasses), with(Mode::multiclass)));
  table.push_back(row(op, "multilabel", all, labels(all, 2), with(Mode::multilabel)));
  table.push_back(
      row(op, "ignored pixels", all, labels(one, kClasses, true), with(Mode::multiclass, true)));
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  const Shape one = {2, 3, 4, 1};
  const Shape all = {2, 3, 4, kClasses};
  const auto dice = [](const Variable& z, const Tensor& y, const RegionOptions& o) {
    return soft_dice_loss(z, y, o);
  };
  add_modes(table, "nn.soft_dice_loss", RegionOptions{.smooth = 0.5}, dice);
  table.push_back(
      row("nn.soft_dice_loss", "log", one, labels(one, 2),
          [=](const Variable& z, const Tensor& y) { return dice(z, y, {.log_loss = true}); }));
  for (const auto& [name, convention] :
       {std::pair("monai", Convention::monai), std::pair("nnunet", Convention::nnunet)})
    table.push_back(row("nn.soft_dice_loss", name, all, labels(one, kClasses),
                        [=](const Variable& z, const Tensor& y) {
                          return soft_dice_loss(z, y, {.mode = Mode::multiclass}, convention);
                        }));
  add_modes(table, "nn.jaccard_loss", RegionOptions{}, jaccard_loss);
  add_modes(table, "nn.tversky_loss", TverskyOptions{{}, 0.3, 0.7, 1.33}, tversky_loss);
  add_modes(table, "nn.focal_loss", FocalOptions{.alpha = 0.25, .gamma = 1.5}, focal_loss);
  table.push_back(
      row("nn.focal_loss", "normalized, threshold", one, labels(one, 2),
          [](const Variable& z, const Tensor& y) {
            return focal_loss(
                z, y, {.reduction = Reduction::sum, .normalized = true, .reduced_threshold = 0.45});
          }));
  table.push_back(row("nn.soft_bce_loss", "smoothed, weighted, ignored", all, labels(all, 2, true),
                      [](const Variable& z, const Tensor& y) {
                        return soft_bce_loss(
                            z, y, {.smooth_factor = 0.1, .ignore_index = 255, .pos_weight = 2});
                      }));
  table.push_back(row("nn.soft_ce_loss", "smoothed, ignored", all, labels(one, kClasses, true),
                      [](const Variable& z, const Tensor& y) {
                        return soft_ce_loss(z, y, {.smooth_factor = 0.1, .ignore_index = 255});
                      }));
  return table;
}

[[maybe_unused]] const bool kRegistered = register_rows(rows);

}  // namespace
}  // namespace decant::nn
