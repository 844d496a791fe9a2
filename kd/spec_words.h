#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kd/spec.h"

namespace decant::kd {

/// The words that spec files and run headers use for the choices in spec.h: one table each, read
/// in both directions.
template <class Choice>
using Words = std::span<const std::pair<Choice, std::string_view>>;

Words<Pathway> words(Pathway);
Words<LossKind> words(LossKind);
Words<KldAxis> words(KldAxis);
Words<ReluPlacement> words(ReluPlacement);
Words<TeacherView> words(TeacherView);
Words<HiddenMatch> words(HiddenMatch);
Words<TeacherBatchNorm> words(TeacherBatchNorm);

/// Throws Error "what: unknown word, did you mean nearest?" unless `word` is among `known`.
void check_word(std::string_view what, std::string_view word, std::span<const std::string> known);

template <class Choice>
std::string_view word_of(Choice choice) {
  for (const auto& [value, word] : words(choice))
    if (value == choice) return word;
  return "unknown";
}

template <class Choice>
Choice from_word(std::string_view what, std::string_view word) {
  std::vector<std::string> known;
  for (const auto& [value, name] : words(Choice{})) {
    if (name == word) return value;
    known.emplace_back(name);
  }
  check_word(what, word, known);
  return Choice{};
}

}  // namespace decant::kd
