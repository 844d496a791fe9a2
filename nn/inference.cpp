#include "nn/inference.h"

namespace decant::nn {

Output Inference::forward(const Variable& x) {
  const NoGrad no_grad;
  const bool plans = x.value().device() == Device::cpu && network_->device() == Device::cpu &&
                     x.dtype() == DType::f32 && network_->dtype() == DType::f32 &&
                     Trace::active() == nullptr && x.shape().rank() == 4;
  if (!plans) return network_->forward(x);
  const Planned& planned = planned_for(x.shape());
  if (planned.plan == nullptr) return network_->forward(x);
  const std::vector<Tensor> values = planned.plan->run(x.value());
  return {.logits = Variable(values[0]),
          .hidden = Variable(values[1]),
          .hidden_stride = planned.hidden_stride,
          .hidden_offset = planned.hidden_offset};
}

Inference::Planned Inference::plan(const Shape& x) const {
  const Variable image(Tensor::zeros({1, x[1], x[2], x[3]}));
  const Trace trace;
  const Output traced = network_->forward(image);
  Planned planned = {nullptr, traced.hidden_stride, traced.hidden_offset};
  if (InferencePlan::knows_all(trace))
    planned.plan = std::make_unique<InferencePlan>(
        trace, image.id(), std::vector<uint64_t>{traced.logits.id(), traced.hidden.id()});
  return planned;
}

const Inference::Planned& Inference::planned_for(const Shape& x) {
  constexpr size_t kMostPlans = 4;  // each has the network's filters once more
  const std::pair<int64_t, int64_t> size = {x[1], x[2]};
  const auto found = plans_.find(size);
  if (found != plans_.end()) {
    const InferencePlan* plan = found->second.plan.get();
    if (plan == nullptr || plan->is_current()) return found->second;
    plans_.clear();  // all of them are of parameters that are no more
  }
  if (plans_.size() >= kMostPlans) plans_.clear();
  return plans_.emplace(size, plan(x)).first->second;
}

}  // namespace decant::nn
