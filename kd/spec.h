#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decant::kd {

/// Where a student is compared with its teacher.
///   logits     the networks' outputs before any activation
///   hidden     the encoders' last maps, each averaged over its channels
///   regressor  the encoders' last maps, the student's carried to the teacher's channels by two
///              convolutions that train with it
enum class Pathway : uint8_t { logits, hidden, regressor };

/// mse: mean of squared differences. kld: T^2 KL(teacher || student) of softmaxes at temperature T.
enum class LossKind : uint8_t { mse, kld };

/// What one distribution of a kld runs over; the mean is taken over the rest.
///   classes  the classes of one pixel (logits only; one logit is a Bernoulli distribution)
///   channel  the channels of one position
///   spatial  the positions of one channel of one image
///   flat     all channels and positions of one image
/// The paper leaves the axis of its hidden KLD open, so every run prints it.
enum class KldAxis : uint8_t { classes, channel, spatial, flat };

enum class ReluPlacement : uint8_t { last, both, none };

/// C_S -> C_S -> .. -> C_T, one convolution per kernel size (odd), size kept, bias on.
struct RegressorSpec {
  std::vector<int> kernels = {3, 1};
  ReluPlacement relu = ReluPlacement::last;  ///< both: after every convolution

  bool operator==(const RegressorSpec&) const = default;
};

/// One comparison; a run may weigh several.
struct TermSpec {
  Pathway pathway = Pathway::logits;
  LossKind loss = LossKind::kld;
  double temperature = 1;            ///< of kld; mse has none
  double weight = 1;                 ///< within the distillation loss
  std::optional<KldAxis> axis = {};  ///< of kld; the pathway's own where empty, see kld_axis()
  RegressorSpec regressor = {};      ///< of the regressor pathway

  /// classes for logits, spatial for hidden maps, unless `axis` says otherwise.
  KldAxis kld_axis() const;
  /// "logits.kld", "hidden.mse": the term's name in logs.
  std::string name() const;

  bool operator==(const TermSpec&) const = default;
};

/// What the teacher sees while the student sees its own, augmented view.
///   same            the student's view
///   weak_warped     the view before the student's geometry and noise; its maps are then warped to
///                   where the student's are, and positions that fall outside of them are masked
///   weak_unaligned  that view, compared as it lies: pixels of different places
enum class TeacherView : uint8_t { same, weak_warped, weak_unaligned };

/// Which cells of two hidden maps are compared where the networks place them differently on the
/// image.
///   cells   cell i with cell i, as the paper does
///   pixels  the teacher's map is moved to where the student's cells lie; what it does not cover is
///           masked. mobilenet_v3's cells lie 31 pixels from a resnet's, all but one cell of 32
enum class HiddenMatch : uint8_t { cells, pixels };

/// eval: the running statistics. batch: those of the batch at hand.
enum class TeacherBatchNorm : uint8_t { eval, batch };

/// What a run distils, and how: loss = distill_weight * sum of weight * term
///                                   + supervised_weight * supervised loss.
struct DistillSpec {
  std::vector<TermSpec> terms = {};
  double distill_weight = 0.5;
  double supervised_weight = 0.5;
  TeacherView teacher_view = TeacherView::same;
  HiddenMatch hidden_match = HiddenMatch::cells;
  TeacherBatchNorm teacher_batch_norm = TeacherBatchNorm::eval;
  /// Augmentation that the teacher's checkpoint should record ("weak"); empty: any.
  std::string expects_teacher_augment = {};

  /// Whether a term compares hidden maps.
  bool reads_hidden() const;

  /// For the run header, one line per term: "logits.kld over classes, T 1, weight 0.5 * 1".
  std::string describe() const;
  /// Throws Error where a term makes no sense: no terms at all, a weight that is negative or not
  /// finite, T <= 0, an even kernel, an axis that its pathway does not have (channel for hidden:
  /// one channel is left after averaging, and a softmax over one value is always 1).
  void validate() const;

  bool operator==(const DistillSpec&) const = default;
};

/// The paper's experiments: L_MSE L_KLD H_MSE H_KLD HReg_MSE HReg_KLD, and each with _WAug, which
/// expects a teacher trained with weak augmentation and shows it the weak view, warped.
/// Throws Error with the nearest name.
DistillSpec preset(std::string_view name);
std::vector<std::string> preset_names();

/// Every key written out: {"terms": [{"pathway": "hidden", "loss": "kld", "axis": "spatial",
/// "temperature": 1, "weight": 1}], "distill_weight": 0.5, ...}.
nlohmann::json to_json(const DistillSpec& spec);
/// Reads what to_json writes; a term must name pathway and loss, any other key left out has its
/// default. {"preset": "L_KLD", ...} begins from a preset and keeps what its term compares. Where
/// there is one term, "temperature", "weight", "axis" and "regressor" may stand beside it and
/// change it: {"preset": "L_KLD", "temperature": 4}. The result is validated. Throws Error naming
/// an unknown key or word, with the nearest known one, a value of the wrong type, a key without
/// effect (a temperature or axis of mse, a regressor elsewhere), or a preset together with terms
/// other than its own.
DistillSpec spec_from_json(const nlohmann::json& json);

}  // namespace decant::kd
