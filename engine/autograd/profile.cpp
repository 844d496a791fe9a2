#include "engine/autograd/profile.h"

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

void Profile::add(const OpInfo& op, bool backward, std::vector<Shape> inputs) {
  const Clock::time_point now = Clock::now();
  rows_.push_back({.op = &op,
                   .backward = backward,
                   .inputs = std::move(inputs),
                   .seconds = std::chrono::duration<double>(now - last_).count()});
  last_ = Clock::now();
}

}  // namespace decant
