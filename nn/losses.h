#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/autograd/variable.h"

namespace decant::nn {

struct LossOptions {
  /// One of loss_names(), or a sum of several: "focal+jaccard". ce_dice is ce+dice.
  std::string name = "ce_dice";
  double dice_smooth = 0;  ///< see dice_loss; 0 is SMP's form
};

/// What a network should have said.
struct Target {
  /// [N, H, W, 1] or [N, H, W]. One class: probabilities in [0, 1] of the logits' type (soft
  /// targets are welcome). Several: class indices 0 .. classes - 1, of any type; on cuda float32,
  /// and nobody looks whether they are such.
  Tensor labels;
  /// Per image, whether it has a mask; empty: all have. Images without one count for nothing: in no
  /// sum and no divisor, whatever their labels and logits are.
  std::vector<bool> has_mask = {};
};

/// The sum's terms, "ce", "dice". Throws Error naming the nearest known one where one is unknown,
/// or none is given.
std::vector<std::string> loss_terms(std::string_view name);

/// Throws Error where the sum has a term that is not for so many classes.
void check_loss(std::string_view name, int64_t classes);

/// Whether a loss leaves its targets on the device, so that a step graph may record it.
bool stays_on_device(const LossOptions& options);

/// Supervised loss of logits [N, H, W, classes] -> a scalar. Throws Error where the name is
/// unknown, shapes do not agree or a label that counts is none. Where no image has a mask it is 0
/// and has no gradient.
Variable supervised_loss(const Variable& logits, const Target& target,
                         const LossOptions& options = {});

/// Mean cross-entropy over pixels: with logits for one class, categorical for several.
Variable ce_loss(const Variable& logits, const Target& target);

/// 1 - Dice of probabilities p and targets t, pooled over the batch, mean over the classes:
///   I = (sum p + sum t - sum |p - t|) / 2
///   loss = 1 - (I + smooth) / max((sum p + sum t) / 2 + smooth, 1e-7)
/// which is 0 at p = t for soft targets too (the usual I = sum p t is not).
/// Empty masks: with smooth = 0 a class without a target in the whole batch gives 0 and no gradient
/// (and counts in the mean), as in SMP; with smooth > 0 it gives 1 - smooth / (sum p / 2 + smooth),
/// so that predicting it costs. (SMP drops absent classes for any smooth.)
/// Sources: Wang et al. 2023, "Dice semimetric losses"; SMP's DiceLoss.
Variable dice_loss(const Variable& logits, const Target& target, double smooth = 0);

/// ce, dice and ce_dice; jaccard, tversky, focal, soft_bce and soft_ce with the defaults of SMP, as
/// nn/segmentation_losses.h has them: of one class in its mode binary, of several in multiclass.
/// soft_bce takes one class, soft_ce several.
std::vector<std::string> loss_names();

}  // namespace decant::nn
