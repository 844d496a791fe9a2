#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace decant::nn {

/// How the learning rate moves over `total_steps`, after `warmup_steps` in which it rises evenly:
/// step s < warmup: base (s + 1) / warmup. Then, with t = s - warmup of T = total - warmup:
///   constant  base
///   step      base gamma^floor(t / step_every)
///   poly      floor + (base - floor) (1 - t / T)^power
///   cosine    floor + (base - floor) (1 + cos(pi t / T)) / 2
/// where floor = final_fraction base. Past the end poly and cosine stay at floor.
/// Sources: poly: Chen et al. 2017 (DeepLab); cosine: Loshchilov & Hutter 2017 (SGDR).
struct ScheduleOptions {
  std::string name = "poly";  ///< constant, step, poly or cosine
  int64_t warmup_steps = 0;
  int64_t step_every = 1;  ///< in optimizer steps
  double gamma = 0.1;
  double power = 0.9;
  double final_fraction = 0;
};

/// A pure function of the step, counted from 0. Throws Error at every step, in the warm-up too,
/// where the name is unknown or a number makes no sense: expected are counts of at least 0 with
/// warmup < total, step_every >= 1, gamma > 0, power >= 0 and final_fraction in [0, 1].
double learning_rate(const ScheduleOptions& options, double base, int64_t step,
                     int64_t total_steps);
std::vector<std::string> schedule_names();

}  // namespace decant::nn
