#include "apps/study/cell.h"

namespace decant::apps {

void note_distillation(Cell& cell, const TrainConfig& config) {
  if (!config.distill.preset.empty()) cell.preset = config.distill.preset;
  const kd::DistillSpec spec = distill_spec(config);
  if (spec.terms.size() != 1) return;
  const std::string term = spec.terms.front().name();  // "logits.kld"
  const size_t dot = term.find('.');
  cell.pathway = term.substr(0, dot);
  cell.loss = term.substr(dot + 1);
}

}  // namespace decant::apps
