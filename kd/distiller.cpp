#include "kd/distiller.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/error.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/optimizer.h"
#include "kd/losses/map_loss.h"
#include "kd/map_pair.h"
#include "kd/regressor.h"

namespace decant::kd {
namespace {

void check_taps(const std::string& name, Pathway pathway, const TapFacts& student,
                const TapFacts& teacher) {
  if (pathway == Pathway::logits) {
    check(student.classes == teacher.classes, name,
          ": expected networks of the same classes, got student ", student.classes, " and teacher ",
          teacher.classes);
  } else {
    check(student.hidden_channels > 0 && teacher.hidden_channels > 0, name,
          ": expected a hidden map of both networks, got channels student ",
          student.hidden_channels, " and teacher ", teacher.hidden_channels);
  }
}

const Variable& tap(Pathway pathway, const nn::Output& output) {
  return pathway == Pathway::logits ? output.logits : output.hidden;
}

// || d(share * f(map)) / d(map) || on a leaf of its own, so that nothing else gets a gradient.
double gradient_norm(const Variable& map, double share,
                     const std::function<Variable(const Variable&)>& f) {
  const Variable leaf = Variable::leaf(map.value());
  backward(scale(f(leaf), share));
  return std::sqrt(squared_norm(leaf.grad()));
}

}  // namespace

Distiller::Distiller(DistillSpec spec, TapFacts student, TapFacts teacher, uint64_t seed,
                     DType dtype)
    : spec_(std::move(spec)) {
  spec_.validate();
  for (const TermSpec& term_spec : spec_.terms) {
    const std::string name = term_spec.name();
    const auto same_name =
        std::ranges::count(terms_, name, [](const Term& t) { return t.spec.name(); });
    Term& term = terms_.emplace_back();
    term.spec = term_spec;
    term.name = same_name == 0 ? name : str(name, '.', same_name + 1);
    term.share = spec_.distill_weight * term_spec.weight;
    term.op = "kd." + term.name;
    check_taps(term.op, term_spec.pathway, student, teacher);
    if (term_spec.pathway == Pathway::regressor)
      term.regressor = std::make_unique<Regressor>(term_spec.regressor, student.hidden_channels,
                                                   teacher.hidden_channels);
  }
  nn::initialize(*this, seed, dtype, "distiller");
}

Distiller::~Distiller() = default;

void Distiller::visit(nn::Visitor& v) {
  for (size_t i = 0; i < terms_.size(); ++i)
    if (terms_[i].regressor != nullptr) v(str("terms.", i), *terms_[i].regressor);
}

std::span<const Affine> Distiller::moves(const nn::Output& teacher,
                                         std::span<const Affine> teacher_to_student) const {
  if (spec_.teacher_view != TeacherView::weak_warped) return {};
  const Variable& any = teacher.logits.defined() ? teacher.logits : teacher.hidden;
  check(any.defined() && static_cast<int64_t>(teacher_to_student.size()) == any.shape()[0],
        "Distiller: expected one affine per image to warp the teacher's view, got ",
        teacher_to_student.size(), " for a teacher's output ",
        any.defined() ? any.shape() : Shape());
  return teacher_to_student;
}

Variable Distiller::value(const Term& term, const Variable& map, const nn::Output& student,
                          const nn::Output& teacher, std::span<const Affine> view,
                          bool frozen) const {
  MapPair maps;
  if (term.spec.pathway == Pathway::logits) {
    maps = match_logits(term.op, map, teacher.logits, view);
  } else {
    const bool average = term.spec.pathway == Pathway::hidden;
    maps = match_hidden(term.op, {map, student.hidden_stride, student.hidden_offset},
                        {teacher.hidden, teacher.hidden_stride, teacher.hidden_offset}, average,
                        view, spec_.hidden_match);
    if (!average) maps.student = term.regressor->forward(maps.student, frozen);
  }
  return term.spec.loss == LossKind::mse
             ? map_mse(term.op, maps)
             : map_kld(term.op, maps, term.spec.kld_axis(), term.spec.temperature);
}

Losses Distiller::loss(const nn::Output& student, const nn::Output& teacher,
                       const Variable& supervised,
                       std::span<const Affine> teacher_to_student) const {
  const auto view = moves(teacher, teacher_to_student);
  Losses losses;
  for (const Term& term : terms_) {
    const Variable v =
        value(term, tap(term.spec.pathway, student), student, teacher, view, /*frozen=*/false);
    const Variable weighted = scale(v, term.spec.weight);
    losses.distill = losses.distill.defined() ? add(losses.distill, weighted) : weighted;
    losses.terms.push_back({.name = term.name, .value = v, .weight = term.share});
  }
  losses.total = scale(losses.distill, spec_.distill_weight);
  check(supervised.defined() || spec_.supervised_weight == 0,
        "Distiller: expected a supervised loss for its weight ", spec_.supervised_weight,
        ", got none");
  if (supervised.defined()) {
    check(supervised.shape().size() == 1,
          "Distiller: expected a supervised loss of one value, got ", supervised.shape());
    losses.supervised = supervised;
    losses.total = add(losses.total, scale(supervised, spec_.supervised_weight));
  }
  return losses;
}

std::vector<GradientNorm> Distiller::gradient_norms(
    const nn::Output& student, const nn::Output& teacher,
    std::span<const Affine> teacher_to_student,
    const std::function<Variable(const Variable& logits)>& supervised) const {
  const auto view = moves(teacher, teacher_to_student);
  std::vector<GradientNorm> norms;
  for (const Term& term : terms_) {
    const auto term_on = [&](const Variable& map) {
      return value(term, map, student, teacher, view, /*frozen=*/true);
    };
    const Variable& map = tap(term.spec.pathway, student);
    check(map.defined(), term.op, ": expected a map of both networks, got none of the student");
    const char* name = term.spec.pathway == Pathway::logits ? "logits" : "hidden";
    norms.push_back({term.name, name, gradient_norm(map, term.share, term_on)});
  }
  if (supervised)
    norms.push_back({"supervised", "logits",
                     gradient_norm(student.logits, spec_.supervised_weight, supervised)});
  return norms;
}

}  // namespace decant::kd
