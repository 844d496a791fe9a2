#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/autograd/variable.h"

namespace decant::nn {

// The losses of segmentation_models.pytorch (SMP 0.5) with its modes and options. Logits are
// [N, H, W, C]; targets plain Tensors, of the logits' device:
//   binary      C = 1; targets [N, H, W] or [N, H, W, 1], probabilities
//   multiclass  targets [N, H, W], whole numbers below C
//   multilabel  targets [N, H, W, C], probabilities
// An element whose target is `ignore_index` does not count; of it, too, the logits may not be NaN.
// All throw Error where shapes, options or targets make no sense. Targets are looked at on the
// host, so on cuda these wait for the device, and a step graph cannot record them; nn/losses.h has
// the losses that training takes by name.

enum class Mode : uint8_t { binary, multiclass, multilabel };
enum class Reduction : uint8_t { mean, sum };

/// Whose meaning of Dice, where they disagree:
///   smp     pooled over the batch; I = (sum p + sum t - sum |p - t|) / 2, which makes p = t the
///           best answer to soft targets too; a class without a target in the batch counts 0
///   monai   image by image; I = sum p t; 1 - (2 I + s) / (sum p + sum t + s), s = 1e-5
///   nnunet  pooled over the batch, multiclass without class 0, the background; I = sum p t;
///           -(2 I + s) / max(sum p + sum t + s, 1e-8), s = 1e-5: from -1 to 0
/// Sources: SMP's DiceLoss; MONAI's DiceLoss(smooth_nr = smooth_dr = 1e-5, batch=False); nnU-Net
/// v2's MemoryEfficientSoftDiceLoss(batch_dice=True, do_bg=False), of regions, which overlap and
/// have no background, do_bg=True.
enum class Convention : uint8_t { smp, monai, nnunet };

struct RegionOptions {
  Mode mode = Mode::binary;
  double smooth = 0;
  double eps = 1e-7;  ///< least divisor
  bool log_loss = false;
  std::optional<double> ignore_index = {};
};

Variable soft_dice_loss(const Variable& logits, const Tensor& target,
                        const RegionOptions& options = {}, Convention convention = Convention::smp);

/// 1 - (I + s) / (I + FP + FN + s) per class, I, FP = sum p - I and FN = sum t - I as smp has them;
/// the mean over classes, of which those without a target give 0.
Variable jaccard_loss(const Variable& logits, const Tensor& target,
                      const RegionOptions& options = {});

struct TverskyOptions : RegionOptions {
  double alpha = 0.5;  ///< of false positives
  double beta = 0.5;   ///< of false negatives
  double gamma = 1;
};
/// mean(1 - (I + s) / (I + alpha FP + beta FN + s))^gamma
/// Source: Salehi et al. 2017; Abraham & Khan 2018 (gamma).
Variable tversky_loss(const Variable& logits, const Tensor& target,
                      const TverskyOptions& options = {});

struct FocalOptions {
  Mode mode = Mode::binary;
  std::optional<double> alpha = {};  ///< weight of the positive class; the other's is 1 - alpha
  double gamma = 2;
  Reduction reduction = Reduction::mean;
  bool normalized = false;  ///< divided by the sum of the focal factors
  std::optional<double> reduced_threshold = {};
  std::optional<double> ignore_index = {};
};
/// f(1 - p) bce, p = exp(-bce) the probability of the truth, f(q) = q^gamma; with a
/// reduced_threshold r it is (q / r)^gamma, and 1 where p < r. Each class by its sigmoid, in
/// multiclass mode too; the mean over classes. Source: Lin et al. 2017; Sergievskiy & Ponamarev
/// 2019 (threshold).
Variable focal_loss(const Variable& logits, const Tensor& target, const FocalOptions& options = {});

struct SoftBceOptions {
  double smooth_factor = 0;  ///< targets y become (1 - y) s + y (1 - s)
  double ignore_index = -100;
  Reduction reduction = Reduction::mean;
  double pos_weight = 1;
};
/// Binary cross-entropy of every element; ignored ones are 0 but count in the mean, as in SMP.
/// target: of the logits' shape, or without its last extent of 1.
Variable soft_bce_loss(const Variable& logits, const Tensor& target,
                       const SoftBceOptions& options = {});

struct SoftCeOptions {
  double smooth_factor = 0;  ///< share of the truth that goes to all classes alike
  double ignore_index = -100;
  Reduction reduction = Reduction::mean;
};
/// (1 - s) -log p[y] + s / C sum -log p; ignored pixels are 0 but count in the mean, as in SMP.
/// target: [N, H, W], whole numbers below C.
Variable soft_ce_loss(const Variable& logits, const Tensor& target,
                      const SoftCeOptions& options = {});

}  // namespace decant::nn
