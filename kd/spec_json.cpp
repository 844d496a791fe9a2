#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "kd/spec_words.h"

namespace decant::kd {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<Pathway, std::string_view>, 3> kPathways = {
    {{Pathway::logits, "logits"}, {Pathway::hidden, "hidden"}, {Pathway::regressor, "regressor"}}};
constexpr std::array<std::pair<LossKind, std::string_view>, 2> kLosses = {
    {{LossKind::mse, "mse"}, {LossKind::kld, "kld"}}};
constexpr std::array<std::pair<KldAxis, std::string_view>, 4> kAxes = {
    {{KldAxis::classes, "class"},
     {KldAxis::channel, "channel"},
     {KldAxis::spatial, "spatial"},
     {KldAxis::flat, "flat"}}};
constexpr std::array<std::pair<ReluPlacement, std::string_view>, 3> kRelus = {
    {{ReluPlacement::last, "last"}, {ReluPlacement::both, "both"}, {ReluPlacement::none, "none"}}};
constexpr std::array<std::pair<TeacherView, std::string_view>, 3> kViews = {
    {{TeacherView::same, "same"},
     {TeacherView::weak_warped, "weak_warped"},
     {TeacherView::weak_unaligned, "weak_unaligned"}}};
constexpr std::array<std::pair<HiddenMatch, std::string_view>, 2> kMatches = {
    {{HiddenMatch::cells, "cells"}, {HiddenMatch::pixels, "pixels"}}};
constexpr std::array<std::pair<TeacherBatchNorm, std::string_view>, 2> kBatchNorms = {
    {{TeacherBatchNorm::eval, "eval"}, {TeacherBatchNorm::batch, "batch"}}};

// The keys of one JSON object, each read once at most; what was never asked for is an Error.
class Keys {
 public:
  Keys(const json& object, std::string at) : object_(object), at_(std::move(at)) {
    check(object_.is_object(), at_, ": expected an object, got ", object_.type_name());
  }

  const json* find(const std::string& key) {
    known_.push_back(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  void number(const std::string& key, double& value) {
    if (const json* found = find(key)) {
      check(found->is_number(), at_, ": expected a number as \"", key, "\", got ",
            found->type_name());
      value = found->get<double>();
    }
  }
  void text(const std::string& key, std::string& value) {
    if (const json* found = find(key)) {
      check(found->is_string(), at_, ": expected a word as \"", key, "\", got ",
            found->type_name());
      value = found->get<std::string>();
    }
  }
  template <class Choice>
  void choice(const std::string& key, Choice& value) {
    std::string word;
    text(key, word);
    if (object_.contains(key)) value = from_word<Choice>(at_ + ": " + key, word);
  }

  void no_others() const {
    for (const auto& [key, value] : object_.items()) check_word(at_ + ": key", key, known_);
  }

 private:
  const json& object_;
  std::string at_;
  std::vector<std::string> known_;
};

void read_regressor(const json& object, const std::string& at, RegressorSpec& spec) {
  Keys keys(object, at);
  if (const json* kernels = keys.find("kernels")) {
    const bool list = kernels->is_array() && std::ranges::all_of(*kernels, [](const json& k) {
                        return k.is_number_integer() && k >= 1 && k <= 99;
                      });
    check(list, at, ": expected a list of sizes as \"kernels\", got ", kernels->dump());
    spec.kernels = kernels->get<std::vector<int>>();
  }
  keys.choice("relu", spec.relu);
  keys.no_others();
}

constexpr std::array<const char*, 4> kTermChoices = {"temperature", "weight", "axis", "regressor"};

// What a term of one pathway and loss may be given beside them.
void read_choices(Keys& keys, const json& object, const std::string& at, TermSpec& term) {
  keys.number("temperature", term.temperature);
  keys.number("weight", term.weight);
  KldAxis axis = term.kld_axis();
  keys.choice("axis", axis);
  if (object.contains("axis")) term.axis = axis;
  if (const json* regressor = keys.find("regressor"))
    read_regressor(*regressor, at + ": regressor", term.regressor);
}

// What would have no effect is refused rather than read: it was meant to have one.
void check_effect(const json& object, const std::string& at, const TermSpec& term) {
  for (const char* key : {"temperature", "axis"})
    check(term.loss == LossKind::kld || !object.contains(key), at, ": expected no \"", key,
          "\" with loss mse, which compares values, not distributions");
  check(term.pathway == Pathway::regressor || !object.contains("regressor"), at,
        ": expected no \"regressor\" with pathway ", word_of(term.pathway),
        ", which has no convolutions");
}

TermSpec read_term(const json& object, const std::string& at) {
  TermSpec term;
  Keys keys(object, at);
  keys.choice("pathway", term.pathway);
  keys.choice("loss", term.loss);
  read_choices(keys, object, at, term);
  keys.no_others();
  for (const char* key : {"pathway", "loss"})
    check(object.contains(key), at, ": expected a word as \"", key, "\", got nothing");
  check_effect(object, at, term);
  return term;
}

// The choices of a preset's term, or of another spec's only one, without the list around it.
void read_choices_of_one(Keys& keys, const json& object, const std::string& at,
                         std::vector<TermSpec>& terms) {
  TermSpec ignored;
  for (const char* key : kTermChoices)
    check(terms.size() == 1 || !object.contains(key), at, ": expected \"", key,
          "\" inside the term that it means, for there are ", terms.size());
  TermSpec& term = terms.size() == 1 ? terms.front() : ignored;
  read_choices(keys, object, at, term);
  check_effect(object, at, term);
}

json write_term(const TermSpec& term) {
  json out = {
      {"pathway", word_of(term.pathway)}, {"loss", word_of(term.loss)}, {"weight", term.weight}};
  if (term.loss == LossKind::kld) {
    out["temperature"] = term.temperature;
    out["axis"] = word_of(term.kld_axis());
  }
  if (term.pathway == Pathway::regressor)
    out["regressor"] = {{"kernels", term.regressor.kernels},
                        {"relu", word_of(term.regressor.relu)}};
  return out;
}

}  // namespace

Words<Pathway> words(Pathway) {
  return kPathways;
}
Words<LossKind> words(LossKind) {
  return kLosses;
}
Words<KldAxis> words(KldAxis) {
  return kAxes;
}
Words<ReluPlacement> words(ReluPlacement) {
  return kRelus;
}
Words<TeacherView> words(TeacherView) {
  return kViews;
}
Words<HiddenMatch> words(HiddenMatch) {
  return kMatches;
}
Words<TeacherBatchNorm> words(TeacherBatchNorm) {
  return kBatchNorms;
}

void check_word(std::string_view what, std::string_view word, std::span<const std::string> known) {
  if (std::ranges::find(known, word) != known.end()) return;
  throw Error(
      str(what, ": unknown \"", word, "\", did you mean \"", nearest_name(word, known), "\"?"));
}

json to_json(const DistillSpec& spec) {
  json terms = json::array();
  for (const TermSpec& term : spec.terms) terms.push_back(write_term(term));
  return {{"terms", std::move(terms)},
          {"distill_weight", spec.distill_weight},
          {"supervised_weight", spec.supervised_weight},
          {"teacher_view", word_of(spec.teacher_view)},
          {"hidden_match", word_of(spec.hidden_match)},
          {"teacher_batch_norm", word_of(spec.teacher_batch_norm)},
          {"expects_teacher_augment", spec.expects_teacher_augment}};
}

DistillSpec spec_from_json(const json& object) {
  const std::string at = "distill";
  Keys keys(object, at);
  DistillSpec spec;
  std::string base;
  keys.text("preset", base);
  if (!base.empty()) spec = preset(base);
  if (const json* terms = keys.find("terms")) {
    check(terms->is_array(), at, ": expected a list as \"terms\", got ", terms->type_name());
    spec.terms.clear();
    for (const json& term : *terms)
      spec.terms.push_back(read_term(term, str(at, ": term ", spec.terms.size())));
    // A resolved spec keeps its preset's name beside the preset's own term, with what refined it.
    const auto name_of = [](const TermSpec& term) { return term.name(); };
    check(base.empty() || std::ranges::equal(spec.terms, preset(base).terms, {}, name_of, name_of),
          at, ": expected the terms of preset ", base, " or no \"preset\", got both with ",
          terms->dump());
  }
  read_choices_of_one(keys, object, at, spec.terms);
  keys.number("distill_weight", spec.distill_weight);
  keys.number("supervised_weight", spec.supervised_weight);
  keys.choice("teacher_view", spec.teacher_view);
  keys.choice("hidden_match", spec.hidden_match);
  keys.choice("teacher_batch_norm", spec.teacher_batch_norm);
  keys.text("expects_teacher_augment", spec.expects_teacher_augment);
  keys.no_others();
  spec.validate();
  return spec;
}

}  // namespace decant::kd
