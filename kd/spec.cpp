#include "kd/spec.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/core/error.h"
#include "kd/spec_words.h"

namespace decant::kd {
namespace {

// Which axes a pathway's maps have. A hidden map has one channel left once it is averaged, so a
// softmax over its channels would be 1 everywhere and the term would silently teach nothing.
bool has_axis(Pathway pathway, KldAxis axis) {
  switch (axis) {
    case KldAxis::classes:
      return pathway == Pathway::logits;
    case KldAxis::channel:
      return pathway == Pathway::regressor;
    case KldAxis::spatial:
    case KldAxis::flat:
      return true;
  }
  return false;
}

void validate_term(const TermSpec& term, const std::string& at) {
  check(std::isfinite(term.weight) && term.weight >= 0, at,
        ": expected a weight of at least 0, got ", term.weight);
  check(std::isfinite(term.temperature) && term.temperature > 0, at,
        ": expected a temperature above 0, got ", term.temperature);
  if (term.loss == LossKind::kld) {
    const KldAxis axis = term.kld_axis();
    check(term.pathway != Pathway::hidden || axis != KldAxis::channel, at,
          ": expected axis spatial, got channel: a hidden map is averaged over its channels, and a "
          "softmax over the one that is left is always 1");
    check(has_axis(term.pathway, axis), at, ": the pathway has no axis ", word_of(axis),
          term.pathway == Pathway::logits ? ", expected class, spatial or flat"
                                          : ", expected spatial, channel or flat");
  }
  if (term.pathway == Pathway::regressor) {
    check(!term.regressor.kernels.empty(), at,
          ": expected kernel sizes for the regressor, got none");
    for (const int kernel : term.regressor.kernels)
      check(kernel > 0 && kernel % 2 == 1, at,
            ": expected odd kernel sizes, which keep the map's size, got ", kernel);
  }
}

}  // namespace

KldAxis TermSpec::kld_axis() const {
  return axis.value_or(pathway == Pathway::logits ? KldAxis::classes : KldAxis::spatial);
}

std::string TermSpec::name() const {
  return str(word_of(pathway), '.', word_of(loss));
}

void DistillSpec::validate() const {
  check(!terms.empty(), "distill.spec: expected at least one term, got none");
  const auto weight = [](const char* name, double value) {
    check(std::isfinite(value) && value >= 0, "distill.spec: expected ", name,
          " of at least 0, got ", value);
  };
  weight("distill_weight", distill_weight);
  weight("supervised_weight", supervised_weight);
  check(hidden_match == HiddenMatch::cells || reads_hidden(),
        "distill.spec: expected a hidden or regressor term for hidden_match pixels, got none");
  for (size_t i = 0; i < terms.size(); ++i)
    validate_term(terms[i], str("distill.spec: term ", i, " (", terms[i].name(), ")"));
  check(
      distill_weight > 0 &&
          std::ranges::any_of(terms, [](const TermSpec& term) { return term.weight > 0; }),
      "distill.spec: expected a weight above 0 on distillation and on one of its terms, got none; "
      "a student without a teacher is for train");
}

bool DistillSpec::reads_hidden() const {
  return std::ranges::any_of(terms,
                             [](const TermSpec& term) { return term.pathway != Pathway::logits; });
}

std::string DistillSpec::describe() const {
  std::ostringstream out;
  for (const TermSpec& term : terms) {
    out << term.name();
    if (term.loss == LossKind::kld)
      out << " over " << word_of(term.kld_axis()) << ", T " << term.temperature;
    if (term.pathway == Pathway::regressor) {
      out << ", kernels";
      for (const int kernel : term.regressor.kernels) out << ' ' << kernel;
      out << ", relu " << word_of(term.regressor.relu);
    }
    out << ", weight " << distill_weight << " * " << term.weight << '\n';
  }
  out << "supervised, weight " << supervised_weight << '\n';
  out << "teacher view " << word_of(teacher_view);
  if (reads_hidden()) out << ", hidden maps matched by " << word_of(hidden_match);
  out << ", batch norm " << word_of(teacher_batch_norm);
  if (!expects_teacher_augment.empty()) out << ", trained with " << expects_teacher_augment;
  return out.str();
}

DistillSpec preset(std::string_view name) {
  const auto names = preset_names();
  check_word("preset", name, names);
  const bool weak = name.ends_with("_WAug");
  if (weak) name.remove_suffix(std::string_view("_WAug").size());

  DistillSpec spec;
  TermSpec& term = spec.terms.emplace_back();
  term.pathway = name.starts_with("HReg_") ? Pathway::regressor
                 : name.starts_with("H_")  ? Pathway::hidden
                                           : Pathway::logits;
  term.loss = name.ends_with("_MSE") ? LossKind::mse : LossKind::kld;
  if (weak) {
    spec.teacher_view = TeacherView::weak_warped;
    spec.expects_teacher_augment = "weak";
  }
  return spec;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const char* pathway : {"L", "H", "HReg"})
    for (const char* loss : {"_MSE", "_KLD"})
      for (const char* view : {"", "_WAug"}) names.push_back(str(pathway, loss, view));
  return names;
}

}  // namespace decant::kd
