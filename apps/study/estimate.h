#pragma once

#include <map>
#include <string>

#include "apps/study/study.h"

namespace decant::apps {

/// Jobs of one kind take the same time: they differ in split, seed, data's augmentation and
/// numbers only.
struct KindOfJob {
  Role role = Role::student;
  std::string network;
  std::string teacher;  ///< "" where there is none
  std::string distils;  ///< "logits.kld", with the teacher's view where that is not the student's
  std::string device;   ///< "cpu", "cuda bf16"
  int64_t size = 0;
  int64_t batch = 0;

  /// "distilled thin_unet under unet/resnet18 by logits.kld"
  std::string text() const;

  auto operator<=>(const KindOfJob&) const = default;
};
KindOfJob kind_of(const Study& study, const Job& job);

struct EpochTime {
  double seconds = 0;
  std::string source;  ///< "12 epochs of finished jobs" or "2 steps"
};

/// Seconds of an epoch by kind: from finished jobs where there are some, otherwise by timing
/// `steps` training steps and an answer with fresh weights, each kind in a process of its own;
/// nothing is known of the rest where `steps` is 0. `threads` as of --threads.
std::map<KindOfJob, EpochTime> epoch_times(const Study& study, int64_t steps, int threads);

}  // namespace decant::apps
