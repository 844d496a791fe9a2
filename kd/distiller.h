#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"
#include "engine/core/affine.h"
#include "kd/spec.h"
#include "nn/module.h"
#include "nn/network.h"

namespace decant::kd {

class Regressor;

/// What a distiller must know of a network before it has run.
struct TapFacts {
  int64_t classes = 1;          ///< channels of the logits
  int64_t hidden_channels = 0;  ///< channels of the encoder's last map
};

/// One term of the distillation loss.
struct TermLoss {
  std::string name;   ///< "logits.kld"; a second term of the same name is "logits.kld.2"
  Variable value;     ///< as the formula has it, before any weight
  double weight = 0;  ///< its share of the total: distill_weight * the term's weight
};

/// The parts of one step's loss.
struct Losses {
  Variable total;    ///< distill_weight * distill + supervised_weight * supervised
  Variable distill;  ///< sum of weight * term
  Variable supervised;
  std::vector<TermLoss> terms;
};

struct GradientNorm {
  std::string name;  ///< a term's name, or "supervised"
  std::string map;   ///< of the student, that it is taken on: "logits" or "hidden"
  double norm = 0;
};

/// Compares a student's output with its teacher's by the terms of a DistillSpec.
///
/// A module: it holds the regressors, which train with the student, are saved for resume and are
/// never exported: "terms.0.1.weight" is the second convolution's weight of term 0.
/// Maps of the two networks are matched position by position. Of two hidden maps the finer is
/// average-pooled to the coarser where the sizes and strides differ by one whole factor, and logits
/// of another size are resized bilinearly to the teacher's; anything else is an Error naming both
/// shapes.
class Distiller : public nn::Module {
 public:
  /// The regressors are initialized, by seed and parameter name, so that a further term leaves the
  /// others' weights alone. Throws Error where the spec is invalid (DistillSpec::validate) or the
  /// networks cannot be compared: other class counts under a logits term, a network without a
  /// hidden map.
  Distiller(DistillSpec spec, TapFacts student, TapFacts teacher, uint64_t seed,
            DType dtype = DType::f32);
  ~Distiller() override;

  void visit(nn::Visitor& v) override;

  const DistillSpec& spec() const { return spec_; }
  /// Whether loss() moves maps, by numbers of the host that may change with every batch.
  bool moves_maps() const {
    return spec_.teacher_view == TeacherView::weak_warped ||
           spec_.hidden_match == HiddenMatch::pixels;
  }

  /// supervised: the step's supervised loss, one value; absent where supervised_weight is 0.
  /// teacher_to_student: for weak_warped one per image, a position in the teacher's view -> the
  /// position in the student's; other views do not read it. The networks' inputs are taken to have
  /// one size in both views.
  /// Throws Error where a term cannot be computed, naming the term and both shapes: no term is ever
  /// left out.
  Losses loss(const nn::Output& student, const nn::Output& teacher, const Variable& supervised,
              std::span<const Affine> teacher_to_student = {}) const;

  /// How hard each part pulls on the student: the Euclidean norm, over the whole batch, of
  ///   d(share of the total) / d(the map of the student that the part reads)
  /// which is `hidden` for hidden and regressor terms, `logits` for logits terms and for
  /// "supervised", listed last where the function logits -> loss is given. Shares are weighted
  /// like in the total. Each term is computed again on a detached copy of its map, so the cost is
  /// that of the small graphs above the maps; no network runs, the step's graph, the parameters and
  /// their gradients stay untouched, and the numbers depend on nothing but the arguments.
  /// Norms on one map compare; a norm on logits and one on hidden maps do not.
  std::vector<GradientNorm> gradient_norms(
      const nn::Output& student, const nn::Output& teacher,
      std::span<const Affine> teacher_to_student = {},
      const std::function<Variable(const Variable& logits)>& supervised = nullptr) const;

 private:
  struct Term {
    TermSpec spec;
    std::string name;
    std::string op;  // as Errors begin: "kd.logits.kld"
    double share = 0;
    std::unique_ptr<Regressor> regressor;
  };

  // One term on `map`, which stands for the student's own hidden map or logits. `frozen`: the
  // regressor's parameters count as constants.
  Variable value(const Term& term, const Variable& map, const nn::Output& student,
                 const nn::Output& teacher, std::span<const Affine> view, bool frozen) const;
  // The affines that the spec's teacher view calls for: all of them, or none.
  std::span<const Affine> moves(const nn::Output& teacher,
                                std::span<const Affine> teacher_to_student) const;

  DistillSpec spec_;
  std::vector<Term> terms_;
};

}  // namespace decant::kd
