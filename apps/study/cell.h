#pragma once

#include "apps/config.h"
#include "apps/study/results.h"

namespace decant::apps {

/// Notes how a network was distilled: the preset, and where there is one term, its pathway and
/// loss.
void note_distillation(Cell& cell, const TrainConfig& config);

}  // namespace decant::apps
