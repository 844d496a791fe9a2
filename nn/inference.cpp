#include "nn/inference.h"

namespace decant::nn {

Output Inference::forward(const Variable& x) {
  const NoGrad no_grad;
  const bool plans = x.value().device() == Device::cpu && x.dtype() == DType::f32 &&
                     network_->dtype() == DType::f32 && Trace::active() == nullptr &&
                     x.shape().rank() == 4;
  if (!plans) return network_->forward(x);
  const Planned& planned = planned_for(x.shape());
  if (planned.plan == nullptr) return network_->forward(x);
  const std::vector<Tensor> values = planned.plan->run(x.value());
  return {.logits = Variable(values[0]),
          .hidden = Variable(values[1]),
          .hidden_stride = planned.traced.hidden_stride,
          .hidden_offset = planned.traced.hidden_offset};
}

Inference::Planned& Inference::planned_for(const Shape& x) {
  const auto [found, added] = plans_.try_emplace({x[1], x[2]});
  Planned& planned = found->second;
  if (!added) return planned;
  const Variable image(Tensor::zeros({1, x[1], x[2], x[3]}));
  const Trace trace;
  planned.traced = network_->forward(image);
  if (InferencePlan::knows_all(trace))
    planned.plan = std::make_unique<InferencePlan>(
        trace, image.id(),
        std::vector<uint64_t>{planned.traced.logits.id(), planned.traced.hidden.id()});
  return planned;
}

}  // namespace decant::nn
