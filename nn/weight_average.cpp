#include "nn/weight_average.h"

#include <algorithm>

#include "engine/ops/optimizer.h"

namespace decant::nn {
namespace {

/// What a network holds, in the order of its visit.
struct Holdings : Visitor {
  explicit Holdings(Network& network) { network.visit(*this); }

  void on_parameter(const std::string& /*path*/, Parameter& parameter) override {
    parameters.push_back(&parameter);
  }
  void on_buffer(const std::string& /*path*/, Buffer& buffer) override {
    (buffer.counter ? counters : moments).push_back(&buffer);
  }

  std::vector<Parameter*> parameters;
  std::vector<Buffer*> moments;
  std::vector<Buffer*> counters;
};

/// Moves tensors into one new buffer, of which they become views, one after the other.
Tensor gathered(const std::vector<Buffer*>& buffers, DType dtype, Device device) {
  int64_t size = 0;
  for (const Buffer* buffer : buffers) size += buffer->shape.size();
  Tensor all({size}, dtype, device);
  int64_t offset = 0;
  for (Buffer* buffer : buffers) {
    Tensor place = all.view(offset, buffer->shape);
    place.copy_from(buffer->tensor);
    buffer->tensor = place;
    offset += buffer->shape.size();
  }
  return all;
}

}  // namespace

WeightAverage::WeightAverage(Network& network, ParameterSet& parameters, double decay)
    : decay_(decay), mean_(std::make_unique<Network>(network.spec())) {
  check(decay > 0 && decay < 1, "WeightAverage: expected a decay between 0 and 1, got ", decay);
  allocate(*mean_, parameters.dtype());
  move_to(*mean_, parameters.device());
  const Holdings trained(network);
  const Holdings mean(*mean_);

  const Tensor weights = parameters.values().clone();
  for (size_t i = 0; i < mean.parameters.size(); ++i) {
    const auto slot = std::ranges::find(parameters.slots(), trained.parameters[i],
                                        &ParameterSet::Slot::parameter);
    check(slot != parameters.slots().end(), "WeightAverage: expected the network's parameters");
    mean.parameters[i]->variable = Variable(weights.view(slot->offset, slot->parameter->shape));
  }
  parts_.push_back({"weights", parameters.values(), weights});

  for (size_t i = 0; i < mean.counters.size(); ++i)
    mean.counters[i]->tensor = trained.counters[i]->tensor;
  if (trained.moments.empty()) return;
  const Tensor moments = gathered(trained.moments, parameters.dtype(), parameters.device());
  const Tensor mean_moments = gathered(mean.moments, parameters.dtype(), parameters.device());
  parts_.push_back({"moments", moments, mean_moments});
  parts_.back().mean.copy_from(moments);
}

void WeightAverage::begin_step(int64_t step) {
  const auto t = static_cast<double>(step);
  decay_now_ = std::min(decay_, (1 + t) / (10 + t));
  if (mean_->device() == Device::cpu) return;
  const Tensor numbers = step_numbers(decay_now_);
  if (!numbers_now_.defined())
    numbers_now_ = Tensor(numbers.shape(), numbers.dtype(), mean_->device());
  numbers_now_.copy_from(numbers);
}

void WeightAverage::apply() {
  for (const Part& part : parts_) ema_update(part.mean, part.now, decay_now_, numbers_now_);
}

std::vector<NamedTensor> WeightAverage::state() const {
  std::vector<NamedTensor> result;
  for (const Part& part : parts_) {
    const Tensor host = part.mean.to(Device::cpu);
    result.push_back({part.name, host.shares_storage(part.mean) ? host.clone() : host});
  }
  return result;
}

void WeightAverage::load_state(const std::vector<NamedTensor>& state) {
  for (Part& part : parts_) {
    const auto found = std::ranges::find(state, part.name, &NamedTensor::name);
    check(found != state.end(), "WeightAverage: the state lacks ", part.name);
    check(found->tensor.shape() == part.mean.shape(), "WeightAverage: expected ", part.name, ' ',
          part.mean.shape(), ", got ", found->tensor.shape());
    part.mean.copy_from(found->tensor);
  }
}

}  // namespace decant::nn
