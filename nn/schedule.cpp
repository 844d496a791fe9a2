#include "nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::nn {

double learning_rate(const ScheduleOptions& options, double base, int64_t step,
                     int64_t total_steps) {
  check(step >= 0 && options.warmup_steps >= 0 && options.step_every >= 1,
        "schedule: expected step and warm-up of at least 0 and step_every of at least 1, got ",
        step, ", ", options.warmup_steps, " and ", options.step_every);
  if (step < options.warmup_steps)
    return base * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);

  const int64_t length = std::max<int64_t>(1, total_steps - options.warmup_steps);
  const int64_t t = step - options.warmup_steps;
  const double progress = std::min(1.0, static_cast<double>(t) / static_cast<double>(length));
  const double floor = options.final_fraction * base;
  if (options.name == "constant") return base;
  if (options.name == "step")
    return base * std::pow(options.gamma, static_cast<double>(t / options.step_every));
  if (options.name == "poly") return floor + (base - floor) * std::pow(1 - progress, options.power);
  if (options.name == "cosine")
    return floor + (base - floor) * (1 + std::cos(std::numbers::pi * progress)) / 2;
  throw Error(str("schedule: there is no \"", options.name, "\"; did you mean \"",
                  nearest_name(options.name, schedule_names()), "\"?"));
}

std::vector<std::string> schedule_names() {
  return {"constant", "step", "poly", "cosine"};
}

}  // namespace decant::nn
