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

const Tensor& Trace::constant(uint64_t id) const {
  const auto found = constants_.find(id);
  check(found != constants_.end(), "Trace: expected an input that no step produced, got value ",
        id);
  return found->second;
}

void Trace::add(Step step, const std::vector<Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && !produced_.contains(step.inputs[i]))
      constants_.try_emplace(step.inputs[i], inputs[i]);
  produced_.insert(step.output);
  step.scope = scope_;
  steps_.push_back(std::move(step));
}

void Trace::add_buffers(std::vector<Tensor> buffers) {
  check(!steps_.empty(), "Trace: expected a step before its buffers");
  steps_.back().buffers = std::move(buffers);
}

Trace::Scope::Scope(std::string_view name) {
  if (active_trace == nullptr) return;
  std::string& scope = active_trace->scope_;
  previous_length_ = scope.size();
  if (!scope.empty() && !name.empty()) scope += '.';
  scope += name;
}

Trace::Scope::~Scope() {
  if (active_trace != nullptr) active_trace->scope_.resize(previous_length_);
}

}  // namespace decant
