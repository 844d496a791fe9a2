#include "engine/autograd/trace.h"

#include "engine/core/error.h"

namespace decant {
namespace {

thread_local Trace* active_trace = nullptr;

}  // namespace

Trace::Trace() {
  check(active_trace == nullptr, "Trace: expected one trace on this thread, got a second");
  active_trace = this;
}

Trace::~Trace() {
  active_trace = nullptr;
}

Trace* Trace::active() {
  return active_trace;
}

void Trace::add(Step step) {
  step.scope = scope_;
  steps_.push_back(std::move(step));
}

Trace::Scope::Scope(std::string_view name) {
  if (active_trace == nullptr) return;
  std::string& scope = active_trace->scope_;
  previous_length_ = scope.size();
  if (!scope.empty()) scope += '.';
  scope += name;
}

Trace::Scope::~Scope() {
  if (active_trace != nullptr) active_trace->scope_.resize(previous_length_);
}

}  // namespace decant
