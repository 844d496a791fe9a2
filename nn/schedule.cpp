#include "nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::nn {

namespace {

void expect_sense(const ScheduleOptions& o, double base, int64_t step, int64_t total_steps) {
  const auto names = schedule_names();
  if (std::ranges::find(names, o.name) == names.end())
    throw Error(str("schedule: there is no \"", o.name, "\"; did you mean \"",
                    nearest_name(o.name, names), "\"?"));
  check(std::isfinite(base) && base >= 0,
        "schedule: expected a finite base rate of at least 0, got ", base);
  check(step >= 0, "schedule: expected a step of at least 0, got ", step);
  check(o.warmup_steps >= 0, "schedule: expected warmup_steps of at least 0, got ", o.warmup_steps);
  check(o.warmup_steps == 0 || o.warmup_steps < total_steps,
        "schedule: expected warm-up of fewer than all ", total_steps, " steps, got ",
        o.warmup_steps);
  check(o.step_every >= 1, "schedule: expected step_every of at least 1, got ", o.step_every);
  check(std::isfinite(o.gamma) && o.gamma > 0, "schedule: expected a finite gamma above 0, got ",
        o.gamma);
  check(std::isfinite(o.power) && o.power >= 0,
        "schedule: expected a finite power of at least 0, got ", o.power);
  check(o.final_fraction >= 0 && o.final_fraction <= 1,
        "schedule: expected final_fraction in [0, 1], got ", o.final_fraction);
}

}  // namespace

double learning_rate(const ScheduleOptions& options, double base, int64_t step,
                     int64_t total_steps) {
  expect_sense(options, base, step, total_steps);
  if (step < options.warmup_steps)
    return base * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);

  const int64_t length = std::max<int64_t>(1, total_steps - options.warmup_steps);
  const int64_t t = step - options.warmup_steps;
  const double progress = std::min(1.0, static_cast<double>(t) / static_cast<double>(length));
  const double floor = options.final_fraction * base;
  if (options.name == "constant") return base;
  if (options.name == "step") {
    const int64_t drops = t / options.step_every;
    return base * std::pow(options.gamma, static_cast<double>(drops));
  }
  if (options.name == "poly") return floor + (base - floor) * std::pow(1 - progress, options.power);
  return floor + (base - floor) * (1 + std::cos(std::numbers::pi * progress)) / 2;  // cosine
}

std::vector<std::string> schedule_names() {
  return {"constant", "step", "poly", "cosine"};
}

}  // namespace decant::nn
