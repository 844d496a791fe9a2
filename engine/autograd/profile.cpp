#include "engine/autograd/profile.h"

#include <utility>

#include "engine/core/error.h"

namespace decant {
namespace {

thread_local Profile* active_profile = nullptr;

}  // namespace

Profile::Profile() {
  check(active_profile == nullptr, "Profile: expected one profile on this thread, got a second");
  active_profile = this;
}

Profile::~Profile() {
  active_profile = nullptr;
}

Profile* Profile::active() {
  return active_profile;
}

void Profile::add(Row row) {
  const Clock::time_point now = Clock::now();
  row.algorithm = std::exchange(algorithm_, {});
  row.multiply_adds = std::exchange(multiply_adds_, 0);
  row.seconds = std::chrono::duration<double>(now - last_).count();
  rows_.push_back(std::move(row));
  last_ = Clock::now();
}

void Profile::note(std::string_view algorithm, int64_t multiply_adds) {
  Profile* const profile = active_profile;
  if (profile == nullptr) return;
  if (!profile->algorithm_.empty()) profile->algorithm_ += " + ";
  profile->algorithm_ += algorithm;
  profile->multiply_adds_ += multiply_adds;
}

}  // namespace decant
